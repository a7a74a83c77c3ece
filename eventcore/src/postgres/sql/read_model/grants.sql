-- Statements that repeat the grants on schema $1, and on its objects, for schema $2 and its objects with the same names. New
-- objects get the default privileges that this role has set in $1. Revocations from PUBLIC on routines and types are
-- repeated.
WITH prefix AS (
    SELECT quote_ident($1) || '.' AS old, quote_ident($2) || '.' AS new
), live AS (
    SELECT n.* FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
), built AS (
    SELECT n.* FROM pg_catalog.pg_namespace n WHERE n.nspname = $2
), defaults AS (
    SELECT d.defaclobjtype, d.defaclacl
      FROM pg_catalog.pg_default_acl d
      JOIN live ON live.oid = d.defaclnamespace
      JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole
     WHERE r.rolname = current_user
), relation AS (
    SELECT new.oid AS new, old.oid AS old, new.relname, new.relkind = 'S' AS is_sequence, old.relacl AS acl, new.relowner AS owner
      FROM pg_catalog.pg_class new
      JOIN built ON built.oid = new.relnamespace
      LEFT JOIN (pg_catalog.pg_class old JOIN live ON live.oid = old.relnamespace)
        ON new.relname = old.relname AND (new.relkind = 'S') = (old.relkind = 'S')
     WHERE new.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
), granted (kind, target, columns, acl, owner) AS (
    SELECT 'SCHEMA', quote_ident($2), '', live.nspacl, live.nspowner FROM live
    UNION ALL
    SELECT CASE WHEN r.is_sequence THEN 'SEQUENCE' ELSE 'TABLE' END, format('%I.%I', $2::text, r.relname), '',
           CASE WHEN r.old IS NOT NULL THEN r.acl ELSE d.defaclacl END, r.owner
      FROM relation r
      LEFT JOIN defaults d ON d.defaclobjtype = CASE WHEN r.is_sequence THEN 'S' ELSE 'r' END
    UNION ALL
    SELECT 'TABLE', format('%I.%I', $2::text, r.relname), format(' (%I)', b.attname), a.attacl, r.owner
      FROM relation r
      JOIN pg_catalog.pg_attribute a ON a.attrelid = r.old AND NOT a.attisdropped
      JOIN pg_catalog.pg_attribute b ON b.attrelid = r.new AND NOT b.attisdropped AND b.attname = a.attname
    UNION ALL
    SELECT 'ROUTINE', new.oid::regprocedure::text, '', CASE WHEN old.oid IS NOT NULL THEN old.proacl ELSE d.defaclacl END, new.proowner
      FROM prefix
     CROSS JOIN pg_catalog.pg_proc new
      JOIN built ON built.oid = new.pronamespace
      LEFT JOIN (pg_catalog.pg_proc old JOIN live ON live.oid = old.pronamespace)
        ON new.oid::regprocedure::text = replace(old.oid::regprocedure::text, prefix.old, prefix.new)
      LEFT JOIN defaults d ON d.defaclobjtype = 'f'
    UNION ALL
    SELECT 'TYPE', format('%I.%I', $2::text, new.typname), '', CASE WHEN old.oid IS NOT NULL THEN old.typacl ELSE d.defaclacl END, new.typowner
      FROM pg_catalog.pg_type new
      JOIN built ON built.oid = new.typnamespace
      LEFT JOIN (pg_catalog.pg_type old JOIN live ON live.oid = old.typnamespace) ON new.typname = old.typname
      LEFT JOIN defaults d ON d.defaclobjtype = 'T'
     WHERE new.typelem = 0 AND new.typtype <> 'c'
)
SELECT format('REVOKE ALL ON %s %s FROM PUBLIC', g.kind, g.target)
  FROM granted g
 WHERE g.kind IN ('ROUTINE', 'TYPE') AND g.acl IS NOT NULL
   AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(g.acl) a WHERE a.grantee = 0)
UNION ALL
SELECT format('GRANT %s%s ON %s %s TO %s%s', a.privilege_type, g.columns, g.kind, g.target,
              CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM granted g
 CROSS JOIN pg_catalog.aclexplode(g.acl) a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
 WHERE a.grantee <> g.owner AND (a.grantee = 0 OR r.rolname IS NOT NULL)
