-- Streams, for any number of requests, from one snapshot: the usual read of commands, which have few streams and no key.
-- A row has the latest position (`head`) and a stream: its version, the event there, the first events of it as arrays, in
-- order, at most as many as a page may have, and the id of the event that the reader goes on from. A row for each event
-- would cost several times as much. If none of the streams is there, there is one row with `head` alone.
-- The columns are those of `read_pages.sql`, `key_request` included.
-- Types are numbers. A reader that knows their names passes the latest event of those it has them from, $5 to $7: if the
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
           ) END AS after_id
      FROM unnest($1, $2, $3, $4) WITH ORDINALITY a (name, after, up_to, most, n)
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
                ORDER BY e.version LIMIT a.most
           ) e
     ) p
  ) s ON true
 WHERE $5 = 0 OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $5 AND k.event_id = $6 AND k.recorded_at = $7)
