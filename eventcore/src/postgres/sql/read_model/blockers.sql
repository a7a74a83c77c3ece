-- The sessions that hold locks on relations of schema $1.
SELECT DISTINCT format('process %s of role %s (%s, %s)', a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'unnamed'), a.state)
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE n.nspname = $1 AND l.granted AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
 ORDER BY 1
 LIMIT 10
