-- Streams, for any number of requests, from one snapshot: the usual read of commands, which have few streams and no key.
-- A row has the latest position (`head`) and a stream: its version, the event there, the first events of it as arrays, in
-- order, at most as many as a page may have, and the id of the event that the reader goes on from. A row for each event
-- would cost several times as much. If none of the streams is there, there is one row with `head` alone.
-- The events of a stream have at most `room` bytes together, unless the first one alone has more; they are only measured if
-- there is one of the large events, as in `read_feed`, or little room. If there are more, `cut` is the position of the last
-- one: what comes after it is not read here, so it is the end of the page.
-- The columns are those of `read_pages.sql`, `key_request` included.
-- Types are numbers. A reader that knows their names passes the latest event of those it has them from, $6 to $8: if the
-- log has another event there, there is no row.
-- `(position > up_to) IS NOT TRUE` is `position <= up_to`, but the planner does not take it to leave few events: then it
-- would collect and sort a whole stream to find its end, which is the first entry of the index from behind.
-- That the sequencer has one row is said with `LIMIT 1`: before the table is analyzed the planner takes it to have thousands,
-- and keeps the page for them, in a file if it is long.
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
