//! A swapped read model equals one that was projected live from the first event, of whatever objects it consists.

use eventcore::projection::RebuildOutcome;

use super::{database::Database, script::Script};

/// Objects of every kind that a schema can hold without an extension.
const OBJECTS: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'cross');
    CREATE DOMAIN amount AS bigint DEFAULT 7 CHECK (VALUE >= 0);
    CREATE TYPE span AS RANGE (subtype = bigint);
    CREATE TYPE pair AS (low bigint, high amount);
    CREATE SEQUENCE tickets START 1000 INCREMENT 10;
    CREATE COLLATION plain FROM \"C\";
    CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple);
    CREATE FUNCTION twice(bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
    CREATE FUNCTION positions() RETURNS bigint LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS
        'BEGIN RETURN (SELECT count(*) FROM events); END';
    CREATE FUNCTION moods(mood) RETURNS SETOF events_row LANGUAGE sql STABLE AS 'SELECT NULL::events_row';
    CREATE PROCEDURE nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE AGGREGATE total(bigint) (sfunc = int8pl, stype = bigint, initcond = '0');
    CREATE OPERATOR <+> (leftarg = bigint, function = twice_of, rightarg = bigint);
    CREATE TABLE events (position bigint PRIMARY KEY, mood mood NOT NULL DEFAULT 'calm', amount amount, span span, pair pair,
        ticket bigint NOT NULL DEFAULT nextval('tickets'), name text COLLATE plain,
        doubled bigint GENERATED ALWAYS AS (twice(position)) STORED);
    CREATE INDEX by_ticket ON events (ticket) WHERE position > 1;
    CREATE INDEX by_twice ON events (twice(position));
    CREATE TABLE streams (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, serial serial, event bigint NOT NULL UNIQUE
        REFERENCES events ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE idempotency (key text PRIMARY KEY, at int4range, EXCLUDE USING gist (at WITH &&));
    CREATE UNLOGGED TABLE projections (name text PRIMARY KEY) WITH (fillfactor = 50);
    CREATE TABLE dead_letters (LIKE events INCLUDING ALL);
    CREATE TABLE sequencer () INHERITS (events);
    CREATE TABLE parts (position bigint, kind mood, PRIMARY KEY (position, kind)) PARTITION BY LIST (kind);
    CREATE TABLE parts_calm PARTITION OF parts FOR VALUES IN ('calm');
    CREATE TABLE parts_cross PARTITION OF parts DEFAULT;
    CREATE INDEX parts_by_position ON parts (position);
    CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO dead_letters (position) VALUES (NEW.position); RETURN NEW; END';
    CREATE TRIGGER copy AFTER INSERT ON events FOR EACH ROW WHEN (NEW.position % 3 = 0) EXECUTE FUNCTION copy();
    CREATE VIEW calm AS SELECT * FROM events WHERE mood = 'calm';
    CREATE VIEW calmer AS SELECT position, twice(ticket) AS ticket FROM calm WHERE position > 2;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS count FROM events;
    CREATE UNIQUE INDEX counted_once ON counted (count);
    CREATE RULE quiet AS ON DELETE TO projections DO INSTEAD NOTHING;
    CREATE STATISTICS pairs ON position, ticket FROM events;
    ALTER TABLE events ENABLE ROW LEVEL SECURITY;
    CREATE POLICY all_of_them ON events USING (position > 0);
    COMMENT ON TABLE events IS 'not the store''s';
    COMMENT ON COLUMN events.ticket IS 'a number';";

/// Some things need others first that nobody would write in this order.
const BEFORE: &str = "
    CREATE TYPE events_row AS (position bigint);
    CREATE FUNCTION twice_of(bigint, bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2 + $2';";

const APPLY: &str = "
    INSERT INTO events (position, mood, amount, span, pair, name)
        VALUES (:n, (ARRAY['calm', 'cross'])[:n % 2 + 1]::mood, :n <+> 1, span(:n, :n + 5), ROW(:n, :n)::pair, 'event :n');
    INSERT INTO streams (event) VALUES (:n);
    INSERT INTO idempotency VALUES ('key :n', int4range(:n, :n + 1));
    INSERT INTO projections VALUES ('name :n');
    DELETE FROM projections;
    INSERT INTO sequencer (position) SELECT :n + 100000 WHERE :n % 5 = 0;
    INSERT INTO parts VALUES (:n, (ARRAY['calm', 'cross'])[:n % 2 + 1]::mood);
    DELETE FROM events WHERE position = :n - 20;
    REFRESH MATERIALIZED VIEW counted;
    SELECT positions();";

/// Runs the statements if the read model is not there yet.
fn once(sql: &str) -> String {
    format!("DO $once$ BEGIN IF to_regclass('events') IS NULL THEN {sql} END IF; END $once$")
}

fn objects() -> Script {
    Script::new(once(&format!("{BEFORE} {OBJECTS}")), APPLY)
}

/// A read model of the same projection, whose names mean other kinds of things, and in which index names have moved.
fn old() -> Script {
    let sql = "
        CREATE TABLE events (position text, other int);
        CREATE TABLE calm (position bigint PRIMARY KEY);
        CREATE TABLE counted (count text);
        CREATE INDEX by_ticket ON calm (position);
        CREATE INDEX parts_calm ON counted (count);
        CREATE VIEW streams AS SELECT 1 AS id;
        CREATE VIEW moods AS SELECT * FROM streams;
        CREATE MATERIALIZED VIEW dead_letters AS SELECT * FROM moods;
        CREATE SEQUENCE parts;
        CREATE TABLE by_twice (id serial PRIMARY KEY REFERENCES by_twice);
        CREATE TYPE amount AS ENUM ('none');
        CREATE DOMAIN mood AS text;
        CREATE FUNCTION twice(bigint) RETURNS text LANGUAGE sql AS $$SELECT 'twice'$$;
        CREATE FUNCTION copy() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE TABLE tickets (mood mood) PARTITION BY LIST (mood);
        CREATE TABLE only_old PARTITION OF tickets DEFAULT;";
    Script::new(
        once(sql),
        "INSERT INTO events VALUES (':n', :n); INSERT INTO tickets VALUES (':n')",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swapped_read_model_equals_one_that_was_projected_live() {
    let events = 60;
    let (live, rebuilt) =
        tokio::join!(Database::with_events(events), Database::with_events(events));
    live.project(objects()).await.unwrap();
    rebuilt.project(old()).await.unwrap();
    let (expected, before) = (live.dump().await, rebuilt.dump().await);
    let store = rebuilt.dump_store().await;
    assert_ne!(before, expected);
    for _ in 0..2 {
        let outcome = rebuilt.rebuild(objects()).await.unwrap();
        assert_eq!(outcome, RebuildOutcome::Swapped);
        similar_asserts(&rebuilt.dump().await, &expected);
        // It has tables of the same names.
        similar_asserts(&rebuilt.dump_store().await, &store);
    }
    // And it is followed from there: what counts, counts on.
    crate::projection::add(&live.store, 1, 20).await;
    crate::projection::add(&rebuilt.store, 1, 20).await;
    live.project(objects()).await.unwrap();
    rebuilt.project(objects()).await.unwrap();
    similar_asserts(&rebuilt.dump().await, &live.dump().await);
    // Back to the old one, once the protection that it does not have is taken away.
    let protected = rebuilt.rebuild(old()).await.unwrap_err().to_string();
    assert!(
        protected.contains("row security of table events"),
        "{protected}"
    );
    rebuilt
        .run("DROP POLICY all_of_them ON :live.events; ALTER TABLE :live.events DISABLE ROW LEVEL SECURITY")
        .await;
    assert_eq!(
        rebuilt.rebuild(old()).await.unwrap(),
        RebuildOutcome::Swapped
    );
    let old_rows = rebuilt.number("SELECT count(*) FROM :live.events").await;
    assert_eq!(old_rows, 80);
    assert_eq!(
        schemas_of(&rebuilt).await,
        std::slice::from_ref(&rebuilt.live)
    );
}

/// The first difference, as whole dumps are long.
pub fn similar_asserts(found: &str, expected: &str) {
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}

/// The schemas that the projections of a store have.
pub async fn schemas_of(database: &Database) -> Vec<String> {
    let sql = database.text("SELECT schema FROM :store.projections ORDER BY 1");
    let rows = database.client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_named_like_those_of_the_store_are_the_read_models_own() {
    // Also where the store's schema is the first on the path.
    let config = crate::server::config();
    let schema = crate::server::schema_of(&config);
    let url = crate::server::url();
    let next = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{next}options=-c%20search_path%3D{schema},public");
    let config = eventcore::postgres::PostgresConfig::new(&url)
        .unwrap()
        .schema(schema)
        .unwrap();
    let database = Database::of(crate::server::patient(config), 30).await;
    let store = database.dump_store().await;
    let names = [
        "events",
        "streams",
        "event_types",
        "idempotency",
        "sequencer",
        "projections",
        "dead_letters",
        "schema_version",
        "eventcore_own",
    ];
    let create = |name| format!("CREATE TABLE IF NOT EXISTS {name} (position bigint PRIMARY KEY);");
    let insert = |name| format!("INSERT INTO {name} VALUES (:n);");
    let script = Script::new(names.map(create).concat(), names.map(insert).concat());
    database.project(script.clone()).await.unwrap();
    let live = database.dump().await;
    assert_eq!(
        live.lines()
            .filter(|line| line.starts_with("row of "))
            .count(),
        names.len() * 30
    );
    similar_asserts(&database.dump_store().await, &store);
    for _ in 0..2 {
        let outcome = database.rebuild(script.clone()).await.unwrap();
        assert_eq!(outcome, RebuildOutcome::Swapped);
        similar_asserts(&database.dump().await, &live);
        similar_asserts(&database.dump_store().await, &store);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_shares_connections_makes_no_difference() {
    let Ok(url) = std::env::var("EVENTCORE_POSTGRES_POOLER") else {
        return println!("this test needs the pooler that `scripts/postgres` starts");
    };
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    let config = eventcore::postgres::PostgresConfig::new(&url).unwrap();
    let config = crate::server::patient(config.schema(schema).unwrap());
    let database = Database::of(config.prepared_statements(false), 20).await;
    let script = |table: &str| {
        Script::new(
            format!("CREATE TABLE IF NOT EXISTS {table} (position bigint PRIMARY KEY)"),
            format!("INSERT INTO {table} VALUES (:n)"),
        )
    };
    database.project(script("events")).await.unwrap();
    let outcome = database.rebuild(script("streams")).await.unwrap();
    assert_eq!(outcome, RebuildOutcome::Swapped);
    let rows = database.number("SELECT count(*) FROM :live.streams").await;
    assert_eq!(rows, 20);
}
