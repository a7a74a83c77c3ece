-- Sets the path of a transaction of the read model $4 in the schema $1, in quotes $2: unqualified names
-- are those of its schema first; of the session's own path all remain but the store $3 and other read
-- models. Returns the schema, and if it was made for this read model.
SELECT (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1::text) AS namespace,
       coalesce((SELECT p.schema IS NOT NULL FROM eventcore.projections p WHERE p.name = $4::text), false) AS is_made,
       set_config('search_path', concat_ws(', ', $2::text,
           (SELECT string_agg(quote_ident(s), ', ' ORDER BY n)
              FROM unnest(current_schemas(false)) WITH ORDINALITY x (s, n)
             WHERE s <> $3::text AND s NOT IN (SELECT m.schema FROM eventcore.projections m WHERE m.schema IS NOT NULL)),
           'pg_temp'), true)
