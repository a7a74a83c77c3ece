-- Version 1 of the tables of an event store, in the schema `eventcore` or the one that was configured.
-- Of the log, only the sequencer is ever updated, and nothing is ever deleted.

-- One row: the position of the latest event. An append locks it until the commit, so positions are dense and in commit
-- order, and what a commit checks cannot change in the meantime.
CREATE TABLE eventcore.sequencer (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO eventcore.sequencer (position) VALUES (0);

-- The id of a new stream or event type is the largest one plus 1, assigned under the lock of the sequencer. A database
-- sequence would fall behind its table where rows are copied without it, as in logical replication.
CREATE TABLE eventcore.streams (
    id   bigint PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE eventcore.event_types (
    id       integer PRIMARY KEY,
    category text COLLATE "C" NOT NULL,          -- the category of the streams that hold these events
    name     text COLLATE "C" NOT NULL,
    UNIQUE (category, name)
);

CREATE TABLE eventcore.events (
    position    bigint      PRIMARY KEY,         -- dense, 1 to n, in commit order
    stream      bigint      NOT NULL,
    version     bigint      NOT NULL,            -- within its stream, from 1
    type        integer     NOT NULL,
    event_id    uuid        NOT NULL,            -- the commit id and, in the low 20 bits, the number in the commit
    bytes       integer     NOT NULL             -- of payload and metadata, so that pages can be bounded without reading them
                GENERATED ALWAYS AS (octet_length(payload::text) + coalesce(octet_length(metadata::text), 0)) STORED,
    recorded_at timestamptz NOT NULL,            -- for information only: nothing is ordered by time
    payload     json        NOT NULL,            -- byte for byte as it was appended
    metadata    json,
    UNIQUE (stream, version)
);
-- Events larger than 8 KiB. A page of 1,024 events without one of them has at most 8 MiB, so only pages with one are measured.
CREATE INDEX events_large_position ON eventcore.events (position) WHERE bytes > 8192;
CREATE INDEX events_large_stream ON eventcore.events (stream, version) WHERE bytes > 8192;
CREATE INDEX events_type_position ON eventcore.events (type, position);

-- Commits that were made under an idempotency key of the caller.
CREATE TABLE eventcore.idempotency (
    key         text COLLATE "C" PRIMARY KEY,
    position    bigint  NOT NULL,
    events      integer NOT NULL,
    commit_id   uuid    NOT NULL,
    fingerprint bytea                            -- of the request that the key identifies, if the caller gave one
);

-- States of streams, which save folding from the start. They may be deleted at any time.
CREATE TABLE eventcore.snapshots (
    stream   bigint  NOT NULL,
    name     text COLLATE "C" NOT NULL,          -- of the state
    revision bigint  NOT NULL,                   -- of its form and meaning
    version  bigint  NOT NULL,                   -- of the last event that it covers …
    event_id uuid    NOT NULL,                   -- … and the id of that event
    state    json    NOT NULL,
    PRIMARY KEY (stream, name)
);

-- The checkpoint and lease of each projection. Each read model has a schema of its own.
CREATE TABLE eventcore.projections (
    name           text COLLATE "C" PRIMARY KEY,
    position       bigint      NOT NULL,         -- the checkpoint
    fence          bigint      NOT NULL,         -- rises with each new leader; writes with an older one are refused
    leader         text,
    leads_until    timestamptz NOT NULL,         -- by the server's clock
    schema         text COLLATE "C",             -- of the read model; null until it is created
    feed           text,                         -- the events that the projection reads; null until it first leads
    type_name      text,                         -- of the projection
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

-- Fails a call of `append` whose arguments are inconsistent.
CREATE FUNCTION eventcore.refuse(why text) RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE invalid_parameter_value USING MESSAGE = 'append: ' || why;
END
$$;

-- Makes commits in the given order and in one round trip, each as a whole or not at all.
--
-- The function runs with the rights of its owner, for callers that may otherwise only read, so it trusts no argument without
-- a check. Positions, versions and the sequencer are derived from the inserted events; names, categories, sizes and metadata
-- are checked; a call with inconsistent arguments fails as a whole. Commit and event ids are chosen by the caller, and
-- `commit_counts` and `commit_firsts` only affect the result.
--
-- Every call that may write locks the sequencer first. With synchronous replication, a call that only checks versions locks it
-- as well: a primary that was replaced and does not know it yet would confirm outdated versions, and only writes wait for a
-- standby. Under READ COMMITTED, every statement of a function sees what was committed before the statement began, so
-- everything that is read after the lock is current and cannot change.
--
-- Commits may be passed together if none of them names a stream that an earlier one writes to (unless it is certain to be
-- refused), or repeats an earlier key. Commits without events are checked too.
--
-- A stream is as expected if it has the expected version and, if an event id is given, this event at that version: after a
-- restore from a backup, another event may have the same version.
--
-- The first row of the result has commit 0 and the position before these commits. One row follows for each commit that was
-- not made: because a stream was not as expected (`conflict`, with the index in `stream_names` and the actual version),
-- because the same commit was made before (`made`), or because another commit has its key, for the same request (`key`) or
-- for a different one (`reused`).
CREATE FUNCTION eventcore.append(
    stream_names        text[],     -- the streams that the commits name …
    stream_categories   integer[],  -- … which of `categories` each belongs to …
    stream_commits      integer[],  -- … which commit names it, from 1 …
    expected_versions   bigint[],   -- … the version that it must have …
    expected_ids        uuid[],     -- … and the event there; null for any
    commit_ids          uuid[],
    commit_counts       integer[],  -- how many events each commit has …
    commit_firsts       integer[],  -- … and which of the events is its first, or would be if it had any
    commit_keys         text[],     -- idempotency keys; null if no commit has one
    commit_fingerprints bytea[],    -- of the requests that the keys identify; null if no commit has one
    commit_metadata     json[],     -- null if no commit has any
    categories          text[],
    type_categories     integer[],  -- the types of the events: which of `categories` …
    type_names          text[],     -- … and the name
    event_commits       integer[],
    event_streams       integer[],  -- which of `stream_names`
    event_numbers       integer[],  -- the number of each event among the new ones of its stream, from 1 …
    event_gaps          integer[],  -- … and the distance to the previous one; both null if no stream has two
    event_types         integer[],  -- which of `type_names`
    event_ids           uuid[],
    event_payloads      json[]
) RETURNS TABLE (commit integer, outcome text, "position" bigint, events integer, stream integer, actual bigint)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    keyed    boolean := commit_keys IS NOT NULL;
    total    integer := coalesce(cardinality(event_streams), 0);
    head     bigint;
    ids      bigint[];
    heads    bigint[];
    head_ids uuid[];           -- null where any event is accepted
    places   integer[];        -- index in `categories` for each stream; null if it has another category
    types    integer[];
    accepted boolean[];        -- null: all of them
    refused  record;
BEGIN
    IF total > 0 OR keyed OR current_setting('synchronous_standby_names') <> '' THEN
        UPDATE eventcore.sequencer s SET position = s.position + total RETURNING s.position - total INTO STRICT head;
    END IF;

    -- In the order of the arguments: rows of `unnest` alone are aggregated in their order.
    SELECT coalesce(head, (SELECT s.position FROM eventcore.sequencer s)), array_agg(a.id), array_agg(a.version),
           array_agg(a.event_id),
           array_agg(CASE WHEN split_part(a.name, '-', 1) = categories[a.category] THEN a.category END),
           ARRAY(SELECT (SELECT t.id FROM eventcore.event_types t WHERE t.category = categories[a.category] AND t.name = a.name)
                   FROM unnest(type_categories, type_names) a (category, name))
      INTO head, ids, heads, head_ids, places, types
      FROM (SELECT a.name, a.category, s.id, coalesce(e.version, 0) AS version,
                   CASE WHEN a.expected_id IS NOT NULL THEN e.event_id END AS event_id
              FROM unnest(stream_names, stream_categories, expected_ids) a (name, category, expected_id)
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
            SELECT c.n, c.events, k.position AS key_position, k.events AS key_events,
                   CASE WHEN k.commit_id = c.id THEN 'made' WHEN k.fingerprint IS NOT DISTINCT FROM c.fingerprint THEN 'key'
                        ELSE 'reused' END AS key_outcome,
                   m.stream, m.actual, o.position AS made
              FROM unnest(commit_ids, commit_firsts, commit_counts, commit_keys, commit_fingerprints)
                   WITH ORDINALITY c (id, first, events, key, fingerprint, n)
              LEFT JOIN LATERAL (SELECT * FROM eventcore.idempotency k WHERE k.key = c.key LIMIT 1) k ON true
              LEFT JOIN (
                  SELECT DISTINCT ON (a.commit) a.commit, a.n AS stream, a.actual
                    FROM unnest(stream_commits, expected_versions, heads, expected_ids, head_ids)
                         WITH ORDINALITY a (commit, expected, actual, expected_id, actual_id, n)
                   WHERE a.expected IS DISTINCT FROM a.actual OR a.expected_id IS DISTINCT FROM a.actual_id
                   ORDER BY a.commit, a.n
              ) m ON m.commit = c.n
              LEFT JOIN LATERAL (
                  SELECT o.position FROM eventcore.events o
                   WHERE m.commit IS NOT NULL AND c.events > 0 AND o.stream = ids[event_streams[c.first]]
                     AND o.version = least(expected_versions[event_streams[c.first]], 9223372036854775806) + 1
                     AND o.event_id = event_ids[c.first]
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
            events := refused.events;
            IF refused.key_position IS NOT NULL THEN
                outcome := refused.key_outcome;
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

        IF accepted IS NOT NULL AND (total > 0 OR keyed) THEN
            SELECT array_agg(e.commit ORDER BY e.n), array_agg(e.stream ORDER BY e.n), array_agg(e.number ORDER BY e.n),
                   array_agg(e.gap ORDER BY e.n), array_agg(e.type ORDER BY e.n), array_agg(e.id ORDER BY e.n),
                   array_agg(e.payload ORDER BY e.n), count(*)
              INTO event_commits, event_streams, event_numbers, event_gaps, event_types, event_ids, event_payloads, total
              FROM unnest(event_commits, event_streams, event_numbers, event_gaps, event_types, event_ids, event_payloads)
                   WITH ORDINALITY e (commit, stream, number, gap, type, id, payload, n)
             WHERE accepted[e.commit];
            UPDATE eventcore.sequencer SET position = head + total;
        END IF;
    END IF;

    IF total > 0 THEN
        IF commit_metadata IS NOT NULL THEN
            -- Readers decode it with every event.
            PERFORM eventcore.refuse('the metadata of a commit could not be read again')
               FROM (
                   SELECT replace(m::text, E'\\u0000', E'\\u0001') AS text FROM unnest(commit_metadata) a (m) WHERE m IS NOT NULL
               ) m
              CROSS JOIN LATERAL (SELECT m.text::jsonb AS value OFFSET 0) v
              WHERE CASE jsonb_typeof(v.value) WHEN 'object' THEN
                        coalesce(jsonb_typeof(v.value -> 'correlation_id'), 'null') NOT IN ('string', 'null')
                        OR coalesce(jsonb_typeof(v.value -> 'causation_id'), 'null') NOT IN ('string', 'null')
                        OR (SELECT count(*) FROM json_object_keys(m.text::json))
                           <> (SELECT count(*) FROM jsonb_object_keys(v.value))
                        OR jsonb_path_exists(v.value, 'strict $.**{127} ? (@.type() == "array" || @.type() == "object")')
                        OR jsonb_path_exists(v.value, 'strict $.** ? (@.type() == "number"
                               && (@ >= 1.797693134862315808e308 || @ <= -1.797693134862315808e308))')
                        OR pg_column_size(m.text) > 67108868
                    ELSE true END;
        END IF;

        IF array_position(ids, NULL) IS NOT NULL THEN
            INSERT INTO eventcore.streams (id, name)
            SELECT (SELECT coalesce(max(s.id), 0) FROM eventcore.streams s) + row_number() OVER (), a.name
              FROM (
                  SELECT DISTINCT a.name FROM unnest(stream_names, ids) WITH ORDINALITY a (name, id, n)
                   WHERE a.id IS NULL AND a.n IN (SELECT unnest(event_streams))
              ) a
             WHERE CASE WHEN char_length(a.name) <= 255 AND a.name ~
                             '^[^-\u0001-\u001f\u007f-\u009f*?{}[\]]+-[^\u0001-\u001f\u007f-\u009f*?{}[\]]+$'
                        THEN true ELSE eventcore.refuse('a stream has a name that is not allowed') END;
            ids := ARRAY(SELECT (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name) FROM unnest(stream_names) a (name));
        END IF;

        IF array_position(types, NULL) IS NOT NULL THEN
            INSERT INTO eventcore.event_types (id, category, name)
            SELECT (SELECT coalesce(max(t.id), 0) FROM eventcore.event_types t) + row_number() OVER (),
                   categories[a.category], a.name
              FROM unnest(type_categories, type_names, types) a (category, name, id)
             WHERE a.id IS NULL
               AND CASE WHEN categories[a.category] ~ '^[^-\u0001-\u001f\u007f-\u009f*?{}[\]]+$'
                             AND char_length(categories[a.category]) <= 253 AND octet_length(a.name) BETWEEN 1 AND 255
                             AND a.name !~ '[\u0001-\u001f\u007f-\u009f]'
                        THEN true ELSE eventcore.refuse('a type or its category has a name that is not allowed') END;
            types := ARRAY(SELECT (SELECT t.id FROM eventcore.event_types t
                                    WHERE t.category = categories[a.category] AND t.name = a.name)
                             FROM unnest(type_categories, type_names) a (category, name));
        END IF;

        IF event_numbers IS NOT NULL THEN
            -- Each event after the first of its stream refers to the one before it, which must come earlier. The unique index
            -- on versions prevents two events from referring to the same one, and two from being the first.
            PERFORM eventcore.refuse('the events of a stream are not numbered from 1')
               FROM unnest(event_streams, event_numbers, event_gaps) WITH ORDINALITY e (stream, number, gap, n)
              WHERE (array_lower(event_streams, 1) = 1 AND array_lower(event_numbers, 1) = 1
                     AND CASE WHEN e.number > 1
                              THEN e.gap > 0 AND event_streams[e.n - e.gap] = e.stream
                                   AND event_numbers[e.n - e.gap] = e.number - 1
                              ELSE coalesce(e.number, 1) = 1 END) IS NOT TRUE;
        END IF;

        INSERT INTO eventcore.events (position, stream, version, type, event_id, recorded_at, payload, metadata)
        SELECT head + e.n, ids[e.stream], heads[e.stream] + coalesce(e.number, 1), types[e.type], e.id, clock_timestamp(),
               e.payload, commit_metadata[e.commit]
          FROM unnest(event_commits, event_streams, event_numbers, event_types, event_ids, event_payloads)
               WITH ORDINALITY e (commit, stream, number, type, id, payload, n)
         WHERE CASE WHEN places[e.stream] = type_categories[e.type] AND array_lower(type_categories, 1) = 1
                         AND pg_column_size(e.payload) <= 8388612 THEN true
                    ELSE eventcore.refuse('an event has a type of another category than its stream, or is too large') END;
    END IF;

    IF keyed THEN
        INSERT INTO eventcore.idempotency (key, position, events, commit_id, fingerprint)
        SELECT c.key, head + c.last, c.events, c.id, c.fingerprint
          FROM (
              SELECT c.*, coalesce(e.events, 0) AS events, coalesce(max(e.last) OVER (ORDER BY c.n), 0) AS last
                FROM unnest(commit_keys, commit_ids, commit_fingerprints) WITH ORDINALITY c (key, id, fingerprint, n)
                LEFT JOIN (
                    SELECT e.commit, count(*) AS events, max(e.n) AS last
                      FROM unnest(event_commits) WITH ORDINALITY e (commit, n) GROUP BY e.commit
                ) e ON e.commit = c.n AND total > 0
          ) c
         WHERE c.key IS NOT NULL AND (accepted IS NULL OR accepted[c.n])
           AND CASE WHEN octet_length(c.key) NOT BETWEEN 1 AND 255 OR c.key ~ '[\u0001-\u001f\u007f-\u009f]'
                    THEN eventcore.refuse('an idempotency key is not allowed')
                    WHEN octet_length(c.fingerprint) <> 32 THEN eventcore.refuse('a fingerprint has not 32 bytes')
                    ELSE true END;
    END IF;
END
$$;

-- The operator of the store grants the rights. To read and append, an application needs USAGE on the schema, SELECT on its
-- tables and EXECUTE on `append`, which runs with the rights of its owner; it can then neither change nor delete events. A
-- role that runs projections also needs INSERT, UPDATE and DELETE on `projections` and `dead_letters`, and one that keeps
-- snapshots needs INSERT and UPDATE on `snapshots`.
REVOKE ALL ON FUNCTION eventcore.append, eventcore.refuse FROM PUBLIC;
REVOKE UPDATE, DELETE, TRUNCATE ON eventcore.streams, eventcore.event_types, eventcore.events, eventcore.idempotency
    FROM CURRENT_USER;
