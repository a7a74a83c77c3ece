-- A page of all events. Each row carries the position of the latest event; if none was found, there is one row with just it.
SELECT h.position, e.position, s.name, e.version, e.event_id, t.name, e.recorded_at, e.payload, e.metadata
  FROM eventcore.sequencer h
  LEFT JOIN (
      SELECT * FROM eventcore.events e WHERE e.position > $1 ORDER BY e.position LIMIT $2
  ) e ON true
  LEFT JOIN eventcore.streams s ON s.id = e.stream
  LEFT JOIN eventcore.event_types t ON t.id = e.type
 ORDER BY e.position
