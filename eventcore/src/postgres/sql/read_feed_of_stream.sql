-- A page of one stream, like `read_feed`, with the limit in bytes in $4. Its beginning is found by bisection, because versions
-- and positions both increase.
SELECT h.position, e.position, $3, e.version, e.event_id,
       (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type), e.recorded_at, e.payload, e.metadata,
       e.stream, e.type, h.fits
  FROM (
      SELECT v.position, v.stream, v.after,
             CASE WHEN $4 < 8388608 OR coalesce((
                      SELECT e.version FROM eventcore.events e
                       WHERE e.bytes > 8192 AND e.stream = v.stream AND e.version > v.after ORDER BY e.version LIMIT 1
                  ) - v.after <= $2, false)
                  THEN (
                      SELECT greatest(count(*), 1) FROM (
                          SELECT sum(e.bytes) OVER (ORDER BY e.version ROWS UNBOUNDED PRECEDING) AS total
                            FROM eventcore.events e
                           WHERE e.stream = v.stream AND e.version > v.after ORDER BY e.version LIMIT (SELECT $2)
                      ) e WHERE e.total <= $4
                  )
                  ELSE $2 END AS fits
        FROM (
            SELECT s.position, s.stream, (
                       WITH RECURSIVE b (low, high) AS (
                           SELECT 0::bigint, CASE WHEN $1 = 0 THEN 0 ELSE coalesce(max(l.version), 0) END
                             FROM eventcore.events l WHERE l.stream = s.stream
                           UNION ALL
                           SELECT CASE WHEN m.position <= $1 THEN m.version ELSE b.low END,
                                  CASE WHEN m.position <= $1 THEN b.high ELSE m.version - 1 END
                             FROM b JOIN eventcore.events m ON m.stream = s.stream AND m.version = (b.low + b.high + 1) / 2
                            WHERE b.low < b.high
                       )
                       SELECT b.low FROM b WHERE b.low = b.high) AS after
              FROM (
                  SELECT (SELECT position FROM eventcore.sequencer) AS position,
                         (SELECT s.id FROM eventcore.streams s WHERE s.name = $3) AS stream
                  OFFSET 0
              ) s
            OFFSET 0
        ) v
      OFFSET 0
  ) h
  LEFT JOIN LATERAL (
      SELECT * FROM (
          SELECT * FROM eventcore.events e
           WHERE e.stream = h.stream AND e.version > h.after ORDER BY e.version LIMIT h.fits
      ) e LIMIT 1024
  ) e ON true
 ORDER BY e.position
