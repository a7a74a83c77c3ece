-- Streams for any number of requests, from one snapshot: the usual read of commands, which have few streams and no key.
-- A row contains the latest position (`head`) and a stream: its version, the event at that version, its first events as
-- arrays, in order and no more than a page may have, and the id of the event that the reader continues from. A row for each
-- event would cost several times as much. If none of the streams exists, a single row contains just `head`.
-- The events of a stream have at most `room` bytes together, unless the first one alone is larger. They are only measured if
-- one of them is a large event, as in `read_feed`, or if there is little room. If there are more, `cut` is the position of the
-- last one: later events are not read here, so the page ends there.
-- The columns are those of `read_pages.sql`, including `key_request`.
-- Types are numbers. A reader that knows their names passes the latest event that they were read with, in $6 to $8: if the
-- log has another event at that position, there is no row.
-- `(position > up_to) IS NOT TRUE` means `position <= up_to`, but the planner does not assume that it leaves few events.
-- Otherwise it would collect and sort a whole stream to find its end, which is the last entry of the index.
-- `LIMIT 1` states that the sequencer has one row: before the table is analyzed, the planner expects thousands, and keeps the
-- page for them, in a file if it is long.
SELECT h.position AS head, NULL::integer AS key_request, s.*
  FROM (SELECT h.position FROM eventcore.sequencer h LIMIT 1) h
  LEFT JOIN (
    SELECT a.n::integer, l.version, l.position, l.event_id, l.recorded_at, p.versions, p.positions, p.types, p.payloads,
           CASE WHEN a.after > 0 THEN (
               SELECT e.event_id FROM eventcore.events e
                WHERE e.stream = s.id AND e.version = a.after AND (e.position > a.up_to) IS NOT TRUE LIMIT 1
           ) END AS after_id,
           CASE WHEN l.version - a.after > cardinality(p.positions) THEN p.positions[cardinality(p.positions)] END AS cut
      FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY a (name, after, up_to, most, room, n)
     CROSS JOIN LATERAL (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name LIMIT 1) s
     CROSS JOIN LATERAL (
         SELECT e.version, e.position, e.event_id, e.recorded_at FROM eventcore.events e
          WHERE e.stream = s.id AND (e.position > a.up_to) IS NOT TRUE ORDER BY e.version DESC LIMIT 1
     ) l
     CROSS JOIN LATERAL (
         SELECT array_agg(e.version) AS versions, array_agg(e.position) AS positions, array_agg(e.type) AS types,
                array_agg(e.payload) AS payloads
           FROM (
               SELECT e.version, e.position, e.type, e.payload FROM eventcore.events e
                WHERE e.stream = s.id AND e.version > a.after AND (e.position > a.up_to) IS NOT TRUE
                ORDER BY e.version LIMIT CASE WHEN a.room < 8192 * a.most::bigint OR EXISTS (
                    SELECT FROM eventcore.events e WHERE e.bytes > 8192 AND e.stream = s.id AND e.version > a.after
                ) THEN (
                    SELECT greatest(count(*), 1) FROM (
                        SELECT sum(e.bytes) OVER (ORDER BY e.version ROWS UNBOUNDED PRECEDING) AS total
                          FROM eventcore.events e
                         WHERE e.stream = s.id AND e.version > a.after AND (e.position > a.up_to) IS NOT TRUE
                         ORDER BY e.version LIMIT a.most
                    ) e WHERE e.total <= a.room
                ) ELSE a.most END
           ) e
     ) p
  ) s ON true
 WHERE $6 = 0 OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $6 AND k.event_id = $7 AND k.recorded_at = $8)
