-- A page of the events that match one of the selectors, $6 and $7, each a category, a type, or both; like `read_feed`. The
-- positions of each type come from the index alone, in order: not knowing the limit there, the planner does not sort all
-- that match.
SELECT h.position, e.position,
       CASE WHEN h.known IS NULL OR e.version = 1 THEN (SELECT s.name FROM eventcore.streams s WHERE s.id = e.stream) END,
       e.version, e.event_id,
       CASE WHEN h.known IS NULL THEN (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type) END,
       e.recorded_at, e.payload, e.metadata, e.stream, e.type
  FROM (
      SELECT (SELECT position FROM eventcore.sequencer) AS position, (SELECT $3) AS known
       WHERE coalesce((SELECT $3), 0) = 0
          OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $3 AND k.event_id = $4 AND k.recorded_at = $5)
  ) h
  LEFT JOIN (
      SELECT e.*
        FROM (
            SELECT p.position
              FROM unnest(ARRAY(
                       SELECT t.id FROM eventcore.event_types t
                        WHERE EXISTS (
                            SELECT FROM unnest((SELECT $6::text[]), (SELECT $7::text[])) f (category, name)
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
        ) p
       CROSS JOIN LATERAL (SELECT * FROM eventcore.events e WHERE e.position = p.position LIMIT 1) e
       LIMIT 1024
  ) e ON true
 ORDER BY e.position
