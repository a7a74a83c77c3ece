-- A page of the events that match one of the selectors, $7 and $8, each with a category, a type, or both; like `read_feed`.
-- The positions of each type are read from the index alone, in order. The planner does not know the limit there, so it does
-- not sort all matching events.
SELECT h.position, e.position,
       CASE WHEN h.known IS NULL OR e.version = 1 THEN (SELECT s.name FROM eventcore.streams s WHERE s.id = e.stream) END,
       e.version, e.event_id,
       CASE WHEN h.known IS NULL THEN (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type) END,
       e.recorded_at, e.payload, e.metadata, e.stream, e.type, h.fits
  FROM (
      SELECT m.position, m.known, m.positions,
             CASE WHEN (SELECT $6) < 8388608 OR coalesce((
                      SELECT e.position FROM eventcore.events e
                       WHERE e.bytes > 8192 AND e.position >= m.positions[1] ORDER BY e.position LIMIT 1
                  ) <= m.positions[cardinality(m.positions)], false)
                  THEN (
                      SELECT greatest(count(*), 1) FROM (
                          SELECT sum(e.bytes) OVER (ORDER BY p.position ROWS UNBOUNDED PRECEDING) AS total
                            FROM unnest(m.positions) p (position)
                           CROSS JOIN LATERAL (SELECT e.bytes FROM eventcore.events e WHERE e.position = p.position LIMIT 1) e
                      ) e WHERE e.total <= (SELECT $6)
                  )
                  ELSE (SELECT $2) END AS fits
        FROM (
            SELECT (SELECT position FROM eventcore.sequencer) AS position, (SELECT $3) AS known,
                   ARRAY(
                       SELECT p.position
                         FROM unnest(ARRAY(
                                  SELECT t.id FROM eventcore.event_types t
                                   WHERE EXISTS (
                                       SELECT FROM unnest((SELECT $7::text[]), (SELECT $8::text[])) f (category, name)
                                        WHERE coalesce(f.category = t.category, true) AND coalesce(f.name = t.name, true)
                                   )
                              )) t (id)
                        CROSS JOIN LATERAL (
                            SELECT * FROM (
                                SELECT e.position FROM eventcore.events e WHERE e.type = t.id AND e.position > (SELECT $1)
                                 ORDER BY e.position LIMIT (SELECT $2)
                            ) p LIMIT 1024
                        ) p
                        ORDER BY p.position LIMIT (SELECT $2)
                   ) AS positions
             WHERE coalesce((SELECT $3), 0) = 0
                OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $3 AND k.event_id = $4 AND k.recorded_at = $5)
            OFFSET 0
        ) m
      OFFSET 0
  ) h
  LEFT JOIN LATERAL (
      SELECT e.*
        FROM unnest(h.positions) p (position)
       CROSS JOIN LATERAL (SELECT * FROM eventcore.events e WHERE e.position = p.position LIMIT 1) e
       LIMIT h.fits
  ) e ON true
 ORDER BY e.position
