-- Pages of streams for any number of requests, from one snapshot. Rows: 'head' (the latest position), 'key' (an earlier
-- commit), 'version' (of a stream, unless 0), 'event' (by request, in commit order).
-- The parameters stand in sub-selects so that the planner does not look into them: it would take a plan for these values
-- to be cheaper than the one for all values, and plan anew each time, which costs far more than the statement.
-- `(position > up_to) IS NOT TRUE` is `position <= up_to`, but the planner does not take it to leave few events: then it
-- would collect and sort a whole stream to find its end, which is the first entry of the index from behind.
WITH head AS MATERIALIZED (
    SELECT position FROM eventcore.sequencer
), asked AS MATERIALIZED (
    SELECT a.n, a.request, a.after, a.up_to, a.most, s.id
      FROM unnest((SELECT $1::text[]), (SELECT $2::bigint[]), (SELECT $3::integer[]), (SELECT $4::bigint[]),
                  (SELECT $5::integer[])) WITH ORDINALITY a (name, after, request, up_to, most, n)
     CROSS JOIN LATERAL (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name LIMIT 1) s
)
SELECT 'head' AS kind, NULL::integer AS request, NULL::integer AS n, NULL::bigint AS version, h.position,
       NULL::text AS type, NULL::json AS payload
  FROM head h
UNION ALL
SELECT 'key', k.request, NULL, i.events, i.position, NULL, NULL
  FROM unnest((SELECT $6::text[]), (SELECT $7::integer[])) k (key, request)
 CROSS JOIN LATERAL (SELECT * FROM eventcore.idempotency i WHERE i.key = k.key LIMIT 1) i
UNION ALL
SELECT 'version', a.request, a.n::integer, e.version, NULL, NULL, NULL
  FROM asked a
 CROSS JOIN LATERAL (
     SELECT e.version FROM eventcore.events e
      WHERE e.stream = a.id AND (e.position > a.up_to) IS NOT TRUE ORDER BY e.version DESC LIMIT 1
 ) e
UNION ALL
SELECT 'event', p.request, p.n::integer, p.version, p.position, t.name, p.payload
  FROM (
      SELECT a.request, a.n, a.most, e.version, e.position, e.type, e.payload,
             row_number() OVER (PARTITION BY a.request ORDER BY e.position) AS place
        FROM asked a
       CROSS JOIN LATERAL (
           SELECT e.version, e.position, e.type, e.payload FROM eventcore.events e
            WHERE e.stream = a.id AND e.version > a.after AND (e.position > a.up_to) IS NOT TRUE
            ORDER BY e.version LIMIT a.most
       ) e
  ) p
  JOIN eventcore.event_types t ON t.id = p.type
 WHERE p.place <= p.most
