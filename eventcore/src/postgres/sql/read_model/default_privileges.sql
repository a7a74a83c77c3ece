-- Statements that set in schema $2 the default privileges that this role has set in schema $1.
SELECT format('ALTER DEFAULT PRIVILEGES IN SCHEMA %I GRANT %s ON %s TO %s%s', $2::text, a.privilege_type,
              CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END,
              coalesce(quote_ident(g.rolname), 'PUBLIC'),
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_catalog.pg_default_acl d
  JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace
  JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
 CROSS JOIN pg_catalog.aclexplode(d.defaclacl) a
  LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantee
 WHERE n.nspname = $1 AND r.rolname = current_user AND a.grantee <> d.defaclrole
