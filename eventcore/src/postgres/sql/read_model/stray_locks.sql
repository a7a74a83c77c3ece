-- Relations outside of schema $1 that this transaction has locked for writing: by its own statements, triggers, functions,
-- foreign keys or `nextval`. If $2 is true, temporary tables are included.
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, c.oid, 0)
  FROM pg_catalog.pg_locks l
  JOIN pg_catalog.pg_class c ON c.oid = l.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
   AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
   AND n.nspname NOT IN ($1, 'pg_catalog', 'pg_toast')
   AND ($2 OR n.nspname !~ '^pg_(toast_)?temp_')
 GROUP BY c.oid
 ORDER BY 1
