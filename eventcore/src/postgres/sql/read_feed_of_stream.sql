-- A page of one stream; like `read_feed`. Where it goes on is found by bisection: versions and positions both rise.
SELECT h.position, e.position, $3, e.version, e.event_id,
       (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type), e.recorded_at, e.payload, e.metadata
  FROM (
      SELECT (SELECT position FROM eventcore.sequencer) AS position,
             (SELECT s.id FROM eventcore.streams s WHERE s.name = $3) AS stream
  ) h
  LEFT JOIN LATERAL (
      SELECT * FROM (
          SELECT * FROM eventcore.events e
           WHERE e.stream = h.stream AND e.version > (
                     WITH RECURSIVE b (low, high) AS (
                         SELECT 0::bigint, CASE WHEN $1 = 0 THEN 0 ELSE coalesce(max(l.version), 0) END
                           FROM eventcore.events l WHERE l.stream = h.stream
                         UNION ALL
                         SELECT CASE WHEN m.position <= $1 THEN m.version ELSE b.low END,
                                CASE WHEN m.position <= $1 THEN b.high ELSE m.version - 1 END
                           FROM b JOIN eventcore.events m ON m.stream = h.stream AND m.version = (b.low + b.high + 1) / 2
                          WHERE b.low < b.high
                     )
                     SELECT b.low FROM b WHERE b.low = b.high)
           ORDER BY e.version LIMIT (SELECT $2)
      ) e LIMIT 1024
  ) e ON true
 ORDER BY e.position
