-- A page of the events that match one of the selectors, each a category, a type, or both; like `read_feed`. The positions
-- of each type come from the index alone.
SELECT h.position, e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.payload, e.metadata
  FROM eventcore.sequencer h
  LEFT JOIN (
      SELECT p.position
        FROM eventcore.event_types t
       CROSS JOIN LATERAL (
           SELECT e.position FROM eventcore.events e WHERE e.type = t.id AND e.position > $1 ORDER BY e.position LIMIT $2
       ) p
       WHERE EXISTS (
           SELECT FROM unnest($3::text[], $4::text[]) f (category, name)
            WHERE coalesce(f.category = t.category, true) AND coalesce(f.name = t.name, true)
       )
       ORDER BY p.position LIMIT $2
  ) p ON true
  LEFT JOIN eventcore.events e ON e.position = p.position
  LEFT JOIN eventcore.streams s ON s.id = e.stream
  LEFT JOIN eventcore.event_types t ON t.id = e.type
 ORDER BY e.position
