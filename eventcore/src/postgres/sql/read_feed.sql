-- A page of all events. Each row contains the position of the latest event; if there are no events, a single row contains
-- just that. Names are looked up for each row: the planner would execute a join as a hash of all streams for each page.
-- Names are most of the cost of a page, so a reader that knows names passes the latest event that they were read with, in $3
-- to $5: rows then contain numbers, and only new streams have names. If the log has another event at that position, there is
-- no row. If $3 is null, all names are returned. The constant limit is `MAX_PAGE_EVENTS`: without it the planner expects a
-- page to be a tenth of the log and compiles the statement for that (JIT), which takes a hundred times as long as the page.
-- Parameters are in sub-selects for the same reason as in `read_streams`.
-- `fits` is the number of events that have at most $6 bytes together, and at least 1. The running sum is expensive, so it is
-- only computed if the page may contain one of the large events, which have an index, or must be shorter than 8 MiB.
-- `OFFSET 0` prevents `fits` from being computed for each reference to it.
SELECT h.position, e.position,
       CASE WHEN h.known IS NULL OR e.version = 1 THEN (SELECT s.name FROM eventcore.streams s WHERE s.id = e.stream) END,
       e.version, e.event_id,
       CASE WHEN h.known IS NULL THEN (SELECT t.name FROM eventcore.event_types t WHERE t.id = e.type) END,
       e.recorded_at, e.payload, e.metadata, e.stream, e.type, h.fits
  FROM (
      SELECT (SELECT position FROM eventcore.sequencer) AS position, (SELECT $3) AS known,
             CASE WHEN (SELECT $6) < 8388608 OR coalesce((
                      SELECT e.position FROM eventcore.events e
                       WHERE e.bytes > 8192 AND e.position > (SELECT $1) ORDER BY e.position LIMIT 1
                  ) - (SELECT $1) <= (SELECT $2), false)
                  THEN (
                      SELECT greatest(count(*), 1) FROM (
                          SELECT sum(e.bytes) OVER (ORDER BY e.position ROWS UNBOUNDED PRECEDING) AS total FROM (
                              SELECT e.position, e.bytes FROM eventcore.events e
                               WHERE e.position > (SELECT $1) ORDER BY e.position LIMIT 1024
                          ) e LIMIT (SELECT $2)
                      ) e WHERE e.total <= (SELECT $6)
                  )
                  ELSE (SELECT $2) END AS fits
       WHERE coalesce((SELECT $3), 0) = 0
          OR EXISTS (SELECT FROM eventcore.events k WHERE k.position = $3 AND k.event_id = $4 AND k.recorded_at = $5)
      OFFSET 0
  ) h
  LEFT JOIN LATERAL (
      SELECT * FROM (
          SELECT * FROM eventcore.events e WHERE e.position > (SELECT $1) ORDER BY e.position LIMIT 1024
      ) e LIMIT h.fits
  ) e ON true
 ORDER BY e.position
