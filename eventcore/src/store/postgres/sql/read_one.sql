-- A page of one stream.
SELECT e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.payload, e.metadata
  FROM eventcore.streams s
 CROSS JOIN LATERAL (
     SELECT * FROM eventcore.events e
      WHERE e.stream = s.id AND e.version > coalesce((
                SELECT b.version FROM eventcore.events b WHERE b.stream = s.id AND b.position <= $1
                 ORDER BY b.version DESC LIMIT 1), 0)
      ORDER BY e.version LIMIT $2
 ) e
  JOIN eventcore.event_types t ON t.id = e.type
 WHERE s.name = $3
 ORDER BY e.position
