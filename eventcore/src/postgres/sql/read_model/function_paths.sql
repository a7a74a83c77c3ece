-- Statements for routines of schema $1 whose `search_path` contains it, which will then be called $2.
SELECT format('ALTER ROUTINE %s SET search_path = %s', p.oid::regprocedure,
              replace(substr(c.setting, length('search_path=') + 1), quote_ident($1), quote_ident($2)))
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
 CROSS JOIN unnest(p.proconfig) c (setting)
 WHERE n.nspname = $1 AND c.setting LIKE 'search\_path=%' AND strpos(c.setting, quote_ident($1)) > 0
