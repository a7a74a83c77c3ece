-- Schema 1 of an event store, in the schema `eventcore` or whatever name it was given.
-- Nothing but the sequencer is ever changed, and nothing is ever removed.

-- One row: the position of the latest event. Whoever appends holds its lock until the commit, so that positions are
-- dense and in commit order, and so that what a commit checks cannot change under it.
CREATE TABLE eventcore.sequencer (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO eventcore.sequencer (position) VALUES (0);

CREATE TABLE eventcore.streams (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE eventcore.event_types (
    id       integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    category text COLLATE "C" NOT NULL,          -- the category of the streams that hold these events
    name     text COLLATE "C" NOT NULL,
    UNIQUE (category, name)
);

CREATE TABLE eventcore.events (
    position    bigint      PRIMARY KEY,         -- dense, 1 to n, in commit order
    stream      bigint      NOT NULL,
    version     bigint      NOT NULL,            -- in its stream, from 1
    type        integer     NOT NULL,
    event_id    uuid        NOT NULL,            -- the commit id and, in the low 20 bits, the number in the commit
    bytes       integer     NOT NULL             -- of payload and metadata, by which pages are bounded without reading these
                GENERATED ALWAYS AS (octet_length(payload::text) + coalesce(octet_length(metadata::text), 0)) STORED,
    recorded_at timestamptz NOT NULL,            -- for people: time never orders anything
    payload     json        NOT NULL,            -- byte for byte as it was appended
    metadata    json,
    UNIQUE (stream, version)
);
-- Events above 8 KiB. A page of 1,024 events without any of them has at most 8 MiB, so only a page with one is measured.
CREATE INDEX events_large_position ON eventcore.events (position) WHERE bytes > 8192;
CREATE INDEX events_large_stream ON eventcore.events (stream, version) WHERE bytes > 8192;
CREATE INDEX events_type_position ON eventcore.events (type, position);

-- Commits that are made at most once under a name of the caller's.
CREATE TABLE eventcore.idempotency (
    key       text COLLATE "C" PRIMARY KEY,
    position  bigint  NOT NULL,
    events    integer NOT NULL,
    commit_id uuid    NOT NULL
);

-- The checkpoint and the lease of each projection. Its read model is in a schema of its own.
CREATE TABLE eventcore.projections (
    name           text COLLATE "C" PRIMARY KEY,
    position       bigint      NOT NULL,         -- the checkpoint
    fence          bigint      NOT NULL,         -- rises with each new leader: who writes with an older one is refused
    leader         text,
    leads_until    timestamptz NOT NULL,         -- by the server's clock
    schema         text COLLATE "C",             -- of the read model; null before it is made
    error          text,
    error_position bigint,
    error_at       timestamptz
) WITH (fillfactor = 50);

-- Events that a projection could not apply.
CREATE TABLE eventcore.dead_letters (
    projection text COLLATE "C" NOT NULL,
    position   bigint      NOT NULL,
    error      text        NOT NULL,
    attempts   bigint      NOT NULL,
    parked_at  timestamptz NOT NULL,
    to_replay  boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (projection, position)
);

-- Makes commits, each whole or not at all, in the order in which they are given, and in one round trip.
--
-- The sequencer is locked first, by whoever has something to write. So does, where standbys have to confirm commits, whoever
-- has nothing to write but wants to know whether versions hold: a leader that was replaced and does not know it yet would
-- say so of versions that are long past, and only what is written waits for a standby. Under READ COMMITTED every statement
-- of a function sees what was committed before it began, so all that is read after the lock is the latest, and stays so.
--
-- A caller gives commits together only if none of them names a stream that an earlier one writes to (unless it is bound
-- to be refused), nor repeats its key. Commits without events are checked too.
--
-- A stream is as expected if it has the expected version and, where an event is named, has this event there: after a
-- restore from a backup, another one may have the same version.
--
-- The first row of the result has commit 0 and the position before these commits. There is one further row for each
-- commit that was not made: because a stream was not as expected (`conflict`: which of `stream_names`, and its version), because
-- this very commit had been made before (`made`), or another one under its key (`key`).
CREATE FUNCTION eventcore.append(
    stream_names       text[],     -- the streams that the commits name …
    stream_commits     integer[],  -- … by which commit, from 1 …
    expected_versions  bigint[],   -- … the version that each must have …
    expected_ids       uuid[],     -- … and the event there; null for any
    commit_ids         uuid[],
    commit_counts      integer[],  -- how many events each commit has …
    commit_firsts      integer[],  -- … and which of the events is its first
    commit_keys        text[],     -- idempotency keys; null if no commit has one
    commit_metadata    json[],     -- null if no commit has any
    type_categories    text[],     -- the types of the events …
    type_names         text[],
    event_commits      integer[],
    event_streams      integer[],  -- which of `stream_names`
    event_versions     bigint[],   -- as it is if the expected version holds
    event_types        integer[],  -- … by number
    event_ids          uuid[],
    event_payloads     json[]
) RETURNS TABLE (commit integer, outcome text, "position" bigint, events integer, stream integer, actual bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    keyed    boolean := commit_keys IS NOT NULL;
    total    integer := cardinality(event_commits);
    head     bigint;
    ids      bigint[];
    heads    bigint[];
    head_ids uuid[];           -- null where any will do
    types    integer[];
    accepted boolean[];        -- null: all of them
    refused  record;
BEGIN
    IF total > 0 OR keyed OR current_setting('synchronous_standby_names') <> '' THEN
        UPDATE eventcore.sequencer s SET position = s.position + total RETURNING s.position - total INTO STRICT head;
    END IF;

    -- In the order of the given arrays: what `unnest` gives alone is aggregated as it comes.
    SELECT coalesce(head, (SELECT s.position FROM eventcore.sequencer s)), array_agg(a.id), array_agg(a.version),
           array_agg(a.event_id),
           ARRAY(SELECT (SELECT t.id FROM eventcore.event_types t WHERE t.category = a.category AND t.name = a.name)
                   FROM unnest(type_categories, type_names) a (category, name))
      INTO head, ids, heads, head_ids, types
      FROM (SELECT s.id, coalesce(e.version, 0) AS version, CASE WHEN a.expected_id IS NOT NULL THEN e.event_id END AS event_id
              FROM unnest(stream_names, expected_ids) a (name, expected_id)
              LEFT JOIN LATERAL (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name LIMIT 1) s ON true
              LEFT JOIN LATERAL (
                  SELECT e.version, e.event_id FROM eventcore.events e WHERE e.stream = s.id ORDER BY e.version DESC LIMIT 1
              ) e ON true
            OFFSET 0) a;
    commit := 0;
    position := head;
    RETURN NEXT;

    IF keyed OR heads IS DISTINCT FROM expected_versions OR head_ids IS DISTINCT FROM expected_ids THEN
        FOR refused IN
            SELECT c.n, k.position AS key_position, k.events AS key_events, k.commit_id AS key_commit, m.stream, m.actual, o.position AS made
              FROM unnest(commit_keys, commit_firsts) WITH ORDINALITY c (key, first, n)
              LEFT JOIN LATERAL (SELECT * FROM eventcore.idempotency k WHERE k.key = c.key LIMIT 1) k ON true
              LEFT JOIN (
                  SELECT DISTINCT ON (a.commit) a.commit, a.n AS stream, a.actual
                    FROM unnest(stream_commits, expected_versions, heads, expected_ids, head_ids)
                         WITH ORDINALITY a (commit, expected, actual, expected_id, actual_id, n)
                   WHERE a.expected <> a.actual OR a.expected_id IS DISTINCT FROM a.actual_id
                   ORDER BY a.commit, a.n
              ) m ON m.commit = c.n
              LEFT JOIN LATERAL (
                  SELECT o.position FROM eventcore.events o
                   WHERE m.commit IS NOT NULL AND o.stream = ids[event_streams[c.first]]
                     AND o.version = event_versions[c.first] AND o.event_id = event_ids[c.first]
                   LIMIT 1
              ) o ON true
             WHERE k.key IS NOT NULL OR m.commit IS NOT NULL
             ORDER BY c.n
        LOOP
            IF accepted IS NULL THEN
                accepted := array_fill(true, ARRAY[cardinality(commit_ids)]);
            END IF;
            accepted[refused.n] := false;
            commit := refused.n;
            events := commit_counts[refused.n];
            total := total - events;
            IF refused.key_position IS NOT NULL THEN
                outcome := CASE refused.key_commit WHEN commit_ids[refused.n] THEN 'made' ELSE 'key' END;
                position := refused.key_position;
                events := refused.key_events;
            ELSIF refused.made IS NOT NULL THEN
                outcome := 'made';
                position := refused.made + events - 1;
            ELSE
                outcome := 'conflict';
                stream := refused.stream;
                actual := refused.actual;
            END IF;
            RETURN NEXT;
        END LOOP;

        IF accepted IS NOT NULL AND (cardinality(event_commits) > 0 OR keyed) THEN
            UPDATE eventcore.sequencer SET position = head + total;
            SELECT array_agg(e.commit ORDER BY e.n), array_agg(e.stream ORDER BY e.n), array_agg(e.version ORDER BY e.n),
                   array_agg(e.type ORDER BY e.n), array_agg(e.id ORDER BY e.n), array_agg(e.payload ORDER BY e.n)
              INTO event_commits, event_streams, event_versions, event_types, event_ids, event_payloads
              FROM unnest(event_commits, event_streams, event_versions, event_types, event_ids, event_payloads)
                   WITH ORDINALITY e (commit, stream, version, type, id, payload, n)
             WHERE accepted[e.commit];
        END IF;
    END IF;

    IF total > 0 THEN
        IF array_position(ids, NULL) IS NOT NULL THEN
            INSERT INTO eventcore.streams (name)
            SELECT DISTINCT stream_names[e.stream] FROM unnest(event_streams) e (stream) WHERE ids[e.stream] IS NULL;
            ids := ARRAY(SELECT (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name) FROM unnest(stream_names) a (name));
        END IF;

        IF array_position(types, NULL) IS NOT NULL THEN
            INSERT INTO eventcore.event_types (category, name)
            SELECT a.category, a.name
              FROM unnest(type_categories, type_names, types) a (category, name, id) WHERE a.id IS NULL;
            types := ARRAY(SELECT (SELECT t.id FROM eventcore.event_types t WHERE t.category = a.category AND t.name = a.name)
                             FROM unnest(type_categories, type_names) a (category, name));
        END IF;

        INSERT INTO eventcore.events (position, stream, version, type, event_id, recorded_at, payload, metadata)
        SELECT head + e.n, ids[e.stream], e.version, types[e.type], e.id, clock_timestamp(), e.payload,
               commit_metadata[e.commit]
          FROM unnest(event_commits, event_streams, event_versions, event_types, event_ids, event_payloads)
               WITH ORDINALITY e (commit, stream, version, type, id, payload, n);
    END IF;

    IF keyed THEN
        INSERT INTO eventcore.idempotency (key, position, events, commit_id)
        SELECT c.key, c.position, c.events, c.id
          FROM (
              SELECT c.key, c.events, c.id, head + sum(c.events) OVER (ORDER BY c.n) AS position
                FROM unnest(commit_keys, commit_counts, commit_ids) WITH ORDINALITY c (key, events, id, n)
               WHERE accepted IS NULL OR accepted[c.n]
          ) c
         WHERE c.key IS NOT NULL;
    END IF;
END
$$;

-- Rights are given by whoever runs the store. An application needs USAGE on the schema, SELECT on its tables and EXECUTE
-- on `append`, which runs with its owner's rights: then it can append, and neither change nor remove. Whoever
-- runs projections needs INSERT, UPDATE and DELETE on `projections` and `dead_letters` as well.
REVOKE ALL ON FUNCTION eventcore.append FROM PUBLIC;
REVOKE UPDATE, DELETE, TRUNCATE ON eventcore.streams, eventcore.event_types, eventcore.events, eventcore.idempotency
    FROM CURRENT_USER;
