-- Pages of streams for any number of requests, from one snapshot. Like `read_streams.sql`, but for requests that look up an
-- earlier commit by its key, or whose streams together may exceed one page.
-- A row contains the latest position (`head`) and one of these: a key that was used, with its request (`key_request`) and the
-- fingerprint that is stored with it; or a stream, its version, the event at that version, the events of the page as arrays,
-- in order, the id of the event that the reader continues from, and, if it was computed, the position at which the page of
-- the request ends (`cut`). If there is neither, a single row contains just `head`.
WITH asked AS MATERIALIZED (
    SELECT a.n, a.request, a.after, a.up_to, a.most, a.share, s.id
      FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY a (name, after, request, up_to, most, share, n)
     CROSS JOIN LATERAL (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name LIMIT 1) s
), cut AS MATERIALIZED (
    -- The end of the page of a request. It is computed only if a stream has more than its share of the page, or a large event,
    -- as in `read_feed`. $7 is the maximum number of bytes of the page, unless its first event alone is larger.
    SELECT r.request, (
               SELECT e.position
                 FROM (
                     SELECT e.position, e.bytes, sum(e.bytes) OVER (ORDER BY e.position ROWS UNBOUNDED PRECEDING) AS total
                       FROM (
                           SELECT e.position, e.bytes
                             FROM asked a
                            CROSS JOIN LATERAL (
                                SELECT e.position, e.bytes FROM eventcore.events e
                                 WHERE e.stream = a.id AND e.version > a.after AND (e.position > a.up_to) IS NOT TRUE
                                 ORDER BY e.version LIMIT a.most
                            ) e
                            WHERE a.request = r.request
                            ORDER BY e.position LIMIT r.most
                       ) e
                 ) e
                WHERE e.total <= $7 OR e.total = e.bytes
                ORDER BY e.position DESC LIMIT 1
           ) AS position
      FROM (SELECT a.request, max(a.most) AS most FROM asked a GROUP BY a.request) r
)
SELECT h.position AS head, r.*
  FROM (SELECT h.position FROM eventcore.sequencer h LIMIT 1) h
  LEFT JOIN (
    SELECT k.request AS key_request, NULL::integer AS n, i.events::bigint AS version, i.position, NULL::uuid AS event_id,
           NULL::timestamptz AS recorded_at, NULL::bigint[] AS versions, NULL::bigint[] AS positions, NULL::integer[] AS types,
           NULL::json[] AS payloads, NULL::uuid AS after_id, NULL::bigint AS cut, i.fingerprint
      FROM unnest($8, $9) k (key, request)
     CROSS JOIN LATERAL (SELECT * FROM eventcore.idempotency i WHERE i.key = k.key LIMIT 1) i
    UNION ALL
    SELECT NULL, a.n::integer, l.version, l.position, l.event_id, l.recorded_at, p.versions, p.positions, p.types, p.payloads,
           CASE WHEN a.after > 0 THEN (
               SELECT e.event_id FROM eventcore.events e
                WHERE e.stream = a.id AND e.version = a.after AND (e.position > a.up_to) IS NOT TRUE LIMIT 1
           ) END,
           l.cut, NULL
      FROM asked a
     CROSS JOIN LATERAL (
         SELECT e.version, e.position, e.event_id, e.recorded_at,
                CASE WHEN e.version - a.after > a.share OR $7 < 8388608 OR EXISTS (
                              SELECT FROM eventcore.events e WHERE e.bytes > 8192 AND e.stream = a.id AND e.version > a.after
                          )
                     THEN (SELECT c.position FROM cut c WHERE c.request = a.request) END AS cut
           FROM eventcore.events e
          WHERE e.stream = a.id AND (e.position > a.up_to) IS NOT TRUE ORDER BY e.version DESC LIMIT 1
     ) l
     CROSS JOIN LATERAL (
         SELECT array_agg(e.version) AS versions, array_agg(e.position) AS positions, array_agg(e.type) AS types,
                array_agg(e.payload) AS payloads
           FROM (
               SELECT e.version, e.position, e.type, e.payload FROM eventcore.events e
                WHERE e.stream = a.id AND e.version > a.after AND (e.position > least(a.up_to, l.cut)) IS NOT TRUE
                ORDER BY e.version LIMIT a.most
           ) e
     ) p
  ) r ON true
 WHERE $10 = 0 OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $10 AND k.event_id = $11 AND k.recorded_at = $12)
