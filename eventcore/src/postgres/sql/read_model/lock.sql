DO $lock$
-- Locks all relations of a schema, as for DROP. A transaction that holds one of them may wait for
-- another one that is already locked here. All locks are then released, and the relation that was
-- held is locked first in the next attempt. Setting the owner to the current one locks a view
-- without the tables that it uses, unlike LOCK. An attempt ends before the server checks for
-- deadlocks, because it might cancel a reader.
DECLARE
    relations text[] := ARRAY(
        SELECT format('%I.%I', n.nspname, c.relname)
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $schema AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         ORDER BY c.oid);
    patience  integer := (SELECT setting::integer / 2 FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout');
    began     timestamptz;
    relation  text;
BEGIN
    FOR attempt IN 1..5 LOOP
        began := clock_timestamp();
        BEGIN
            FOREACH relation IN ARRAY relations LOOP
                PERFORM set_config('lock_timeout', greatest(1, least(attempt * 100, patience)
                    - (extract(epoch FROM clock_timestamp() - began) * 1000)::integer)::text, true);
                EXECUTE format('ALTER TABLE %s OWNER TO CURRENT_USER', relation);
            END LOOP;
            PERFORM set_config('lock_timeout', least(500, patience)::text, true);
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            relations := relation || array_remove(relations, relation);
        END;
    END LOOP;
    RAISE lock_not_available USING MESSAGE = format('%s was in use all the time', relation);
END
$lock$
