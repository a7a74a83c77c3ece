-- Sets the search path of a transaction of read model $4, whose schema is $1, quoted $2. Unqualified names refer to its schema
-- first. The rest of the session's own path remains, except the store $3 and other read models. Returns the schema, and
-- whether it was created for this read model.
SELECT (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::text) AS namespace,
       coalesce((SELECT p.schema IS NOT NULL FROM eventcore.projections p WHERE p.name = $4::text), false) AS is_made,
       set_config('search_path', concat_ws(', ', $2::text,
           (SELECT string_agg(quote_ident(s), ', ' ORDER BY n)
              FROM unnest(current_schemas(false)) WITH ORDINALITY x (s, n)
             WHERE s <> $3::text AND s NOT IN (SELECT m.schema FROM eventcore.projections m WHERE m.schema IS NOT NULL)),
           'pg_temp'), true)
