-- A page of the log.
SELECT e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.payload, e.metadata
  FROM (SELECT * FROM eventcore.events e WHERE e.position > $1 ORDER BY e.position LIMIT $2) e
  JOIN eventcore.streams s ON s.id = e.stream
  JOIN eventcore.event_types t ON t.id = e.type
 ORDER BY e.position
