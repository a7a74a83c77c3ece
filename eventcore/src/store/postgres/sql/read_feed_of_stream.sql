-- A page of one stream; like `read_feed`. Where it goes on is found by bisection: versions and positions both rise.
SELECT h.position, e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.payload, e.metadata
  FROM eventcore.sequencer h
  LEFT JOIN eventcore.streams s ON s.name = $3
  LEFT JOIN LATERAL (
      SELECT * FROM eventcore.events e
       WHERE e.stream = s.id AND e.version > (
                 WITH RECURSIVE b (low, high) AS (
                     SELECT 0::bigint, CASE WHEN $1 = 0 THEN 0 ELSE coalesce(max(l.version), 0) END
                       FROM eventcore.events l WHERE l.stream = s.id
                     UNION ALL
                     SELECT CASE WHEN m.position <= $1 THEN m.version ELSE b.low END,
                            CASE WHEN m.position <= $1 THEN b.high ELSE m.version - 1 END
                       FROM b JOIN eventcore.events m ON m.stream = s.id AND m.version = (b.low + b.high + 1) / 2
                      WHERE b.low < b.high
                 )
                 SELECT b.low FROM b WHERE b.low = b.high)
       ORDER BY e.version LIMIT $2
  ) e ON true
  LEFT JOIN eventcore.event_types t ON t.id = e.type
 ORDER BY e.position
