-- The migrations that were made. A migration holds the lock until the end of its transaction.
CREATE TABLE IF NOT EXISTS eventcore.schema_version (
    version bigint      PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now()
);
LOCK TABLE eventcore.schema_version IN SHARE ROW EXCLUSIVE MODE;
