-- Statements for routines of the schema $1 that set a `search_path` with it, as it will be called $2.
SELECT format('ALTER ROUTINE %s SET search_path = %s', p.oid::regprocedure,
              replace(substr(c.setting, length('search_path=') + 1), quote_ident($1), quote_ident($2)))
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 CROSS JOIN unnest(p.proconfig) c (setting)
 WHERE n.nspname = $1 AND c.setting LIKE 'search\_path=%' AND strpos(c.setting, quote_ident($1)) > 0
