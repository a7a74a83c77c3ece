-- A page of all events. Each row carries the position of the latest event; if none was found, there is one row with just it.
-- Names are looked up row by row: a join is planned as a hash of all streams for each page. The constant limit is
-- `MAX_PAGE_EVENTS`: without it the planner takes a page for a tenth of the log, and compiles the statement for that (JIT),
-- which takes a hundred times as long as the page. Parameters stand in sub-selects as in `read_streams`.
SELECT h.position, e.position, (SELECT s.name FROM eventcore.streams s WHERE s.id = e.stream), e.version, e.event_id,
       (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type), e.recorded_at, e.payload, e.metadata
  FROM (SELECT (SELECT position FROM eventcore.sequencer) AS position) h
  LEFT JOIN (
      SELECT * FROM (
          SELECT * FROM eventcore.events e WHERE e.position > (SELECT $1) ORDER BY e.position LIMIT 1024
      ) e LIMIT (SELECT $2)
  ) e ON true
 ORDER BY e.position
