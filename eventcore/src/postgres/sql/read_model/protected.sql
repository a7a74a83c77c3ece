-- Protection of the tables of schema $1 that would be lost because schema $2 does not have it.
SELECT 'row security of table ' || quote_ident(old.relname),
       'the live read model has it and the new one does not; enable it in `prepare`'
  FROM pg_catalog.pg_class old
  JOIN pg_catalog.pg_class new ON new.relname = old.relname
 WHERE old.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
   AND new.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $2)
   AND (old.relrowsecurity > new.relrowsecurity OR old.relforcerowsecurity > new.relforcerowsecurity)
UNION ALL
SELECT format('policy %I of table %I', p.polname, old.relname),
       'the live read model has it and the new one does not; create it in `prepare`, or drop it'
  FROM pg_catalog.pg_policy p
  JOIN pg_catalog.pg_class old ON old.oid = p.polrelid
  JOIN pg_catalog.pg_class new ON new.relname = old.relname
 WHERE old.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
   AND new.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $2)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy q WHERE q.polrelid = new.oid AND q.polname = p.polname)
UNION ALL
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::regclass, old.oid, 0),
       format('it belongs to the role `%s`, and the new read model is owned by `%s`; '
              'change its owner, or rebuild as that role', r.rolname, current_user)
  FROM pg_catalog.pg_class old
  JOIN pg_catalog.pg_roles r ON r.oid = old.relowner
 WHERE old.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)
   AND old.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND r.rolname <> current_user
 ORDER BY 1
