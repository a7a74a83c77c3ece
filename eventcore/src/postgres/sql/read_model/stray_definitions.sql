-- Objects that this transaction has defined, replaced or granted outside of schema $1, and extensions in it, which belong to
-- the database. A visible catalog row whose transaction is still in progress belongs to this transaction or one of its
-- savepoints.
WITH defined (classid, objid, namespace, xmin) AS (
    SELECT 'pg_catalog.pg_class'::regclass::oid, c.oid, c.relnamespace, c.xmin FROM pg_catalog.pg_class c
    UNION ALL
    SELECT 'pg_catalog.pg_class'::regclass, c.oid, c.relnamespace, a.xmin
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, p.oid, p.pronamespace, p.xmin FROM pg_catalog.pg_proc p
    UNION ALL
    -- Array and row types come with what they belong to.
    SELECT 'pg_catalog.pg_type'::regclass, t.oid, t.typnamespace, t.xmin
      FROM pg_catalog.pg_type t WHERE t.typtype <> 'c' AND t.typelem = 0
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::regclass, o.oid, o.oprnamespace, o.xmin FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT 'pg_catalog.pg_namespace'::regclass, n.oid, n.oid, n.xmin
      FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_(toast_)?temp_'
)
SELECT pg_catalog.pg_describe_object(d.classid, d.objid, 0)
  FROM defined d
  JOIN pg_catalog.pg_namespace n ON n.oid = d.namespace
 WHERE CASE WHEN pg_catalog.age(d.xmin) <= 0
            THEN txid_status(txid_current_if_assigned() - pg_catalog.age(d.xmin)) = 'in progress' END
   AND n.nspname <> $1 AND n.nspname !~ '^pg_toast'
UNION
SELECT pg_catalog.pg_describe_object('pg_catalog.pg_extension'::regclass, e.oid, 0)
  FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE n.nspname = $1
 ORDER BY 1
