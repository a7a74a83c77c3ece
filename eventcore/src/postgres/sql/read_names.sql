-- The names of streams and event types by their numbers; none if the log has another event at the position that the reader saw.
SELECT n.is_stream, n.id, n.name
  FROM (
      SELECT true AS is_stream, s.id, s.name FROM eventcore.streams s WHERE s.id = ANY ($1)
       UNION ALL
      SELECT false, t.id, t.name FROM eventcore.event_types t WHERE t.id = ANY ($2)
  ) n
 WHERE EXISTS (SELECT FROM eventcore.events k WHERE k.position = $3 AND k.event_id = $4 AND k.recorded_at = $5)
