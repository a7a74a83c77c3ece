-- Objects outside of schema $1 that `DROP SCHEMA $1 CASCADE` would drop, and objects in it that belong to an extension or a
-- publication.
WITH RECURSIVE gone (classid, objid) AS (
    SELECT 'pg_catalog.pg_namespace'::regclass::oid, n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1
    UNION
    SELECT d.classid, d.objid FROM gone g JOIN pg_catalog.pg_depend d ON d.refclassid = g.classid AND d.refobjid = g.objid
)
SELECT pg_catalog.pg_describe_object(g.classid, g.objid, 0)
  FROM gone g,
       pg_catalog.pg_identify_object(g.classid, g.objid, 0) i,
       pg_catalog.pg_identify_object_as_address(g.classid, g.objid, 0) a
 WHERE CASE
           WHEN i.type IN ('schema', 'default acl', 'cast') OR i.schema = 'pg_toast' THEN false
           WHEN i.type LIKE 'publication%' OR i.type = 'extension' THEN true
           WHEN i.schema IS NOT NULL THEN i.schema <> $1
           ELSE a.object_names[1] <> $1
       END
   -- Array and row types and the triggers of foreign keys go with what is listed anyway.
   AND NOT (i.type IN ('type', 'trigger') AND EXISTS (
           SELECT FROM pg_catalog.pg_depend d WHERE d.classid = g.classid AND d.objid = g.objid AND d.deptype = 'i'))
 ORDER BY 1
