-- The state of schema $1, and the rights of this role. A schema that has only default privileges is empty.
SELECT current_user::text AS role, current_database()::text AS database,
       has_database_privilege(current_database(), 'CREATE') AS may_create,
       n.oid, pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner,
       (SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0) FROM pg_catalog.pg_depend d
         WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid
           AND d.classid <> 'pg_catalog.pg_default_acl'::regclass
         ORDER BY 1 LIMIT 1) AS holds
  FROM (VALUES (1)) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1
