-- Begins a transaction of a read model. What it commits is durable a moment later: what a crash takes
-- back, it takes back together with the checkpoint. Statements are planned as they would be elsewhere.
-- Unqualified names are those of the read model's schema first; of the session's own path all remain
-- but the store and other read models. Returns the state of the read model as the transaction finds it.
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL synchronous_commit = off;
SET LOCAL idle_in_transaction_session_timeout = '60s';
SET LOCAL plan_cache_mode TO DEFAULT;
-- It is gone when the transaction is: a projection that ends the transaction itself is found by that.
SET LOCAL eventcore_batch.state = 'open';
SELECT (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $schema) AS namespace,
       p.schema IS NOT NULL AS is_made, p.position,
       set_config('search_path', concat_ws(', ', $name_of_schema,
           (SELECT string_agg(quote_ident(s), ', ' ORDER BY n)
              FROM unnest(current_schemas(false)) WITH ORDINALITY x (s, n)
             WHERE s <> $store AND s NOT IN (SELECT m.schema FROM eventcore.projections m WHERE m.schema IS NOT NULL)),
           'pg_temp'), true)
  FROM (VALUES (1)) one LEFT JOIN eventcore.projections p ON p.name = $key
