//! Refusals: what could not be swapped, or would change something else than the read model, is refused before the first event, and
//! nothing is changed.

use std::sync::{Arc, atomic::Ordering};

use eventcore::{
    EventStoreError, RecordedEvent,
    postgres::PostgresTransaction,
    projection::{Projection, ProjectionError, ProjectionRunner, RebuildOutcome},
};
use tokio::sync::Notify;

use super::{
    database::Database,
    objects::{schemas_of, similar_asserts},
    script::{Other, Script},
};
use crate::chain::chain;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS totals (position bigint PRIMARY KEY, count bigint NOT NULL DEFAULT 1)";
const INSERT: &str = "INSERT INTO totals (position) VALUES (:n)";

fn totals() -> Script {
    Script::new(CREATE, INSERT)
}

/// A read model that serves, beside a schema of other people's.
async fn serving() -> (Database, String) {
    let database = Database::with_events(5).await;
    let elsewhere = serve(&database).await;
    (database, elsewhere)
}

async fn serve(database: &Database) -> String {
    let elsewhere = format!("{}_elsewhere", database.schema);
    database
        .run(&format!(
            "CREATE SCHEMA {elsewhere};
             CREATE TABLE {elsewhere}.totals (position bigint PRIMARY KEY, count bigint NOT NULL DEFAULT 1);
             INSERT INTO {elsewhere}.totals VALUES (0, 0);
             CREATE SEQUENCE {elsewhere}.numbers;
             CREATE FUNCTION {elsewhere}.copy() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO {elsewhere}.totals VALUES (-NEW.position, 0); RETURN NEW; END'"
        ))
        .await;
    database.project(totals()).await.unwrap();
    elsewhere
}

/// All that a refused projection must leave as it is.
async fn world(database: &Database, elsewhere: &str) -> String {
    format!(
        "{}\n{}\n{}",
        database.dump().await,
        database.dump_store().await,
        // A number that was taken is not given back.
        super::dump::dump(&database.client, elsewhere)
            .await
            .lines()
            .filter(|line| !line.starts_with("sequence "))
            .collect::<Vec<_>>()
            .join("\n")
    )
}

fn assert_forbidden(error: &ProjectionError, objects: &[&str]) {
    assert!(
        matches!(error, ProjectionError::Forbidden { .. }),
        "{error:?}"
    );
    let error = error.to_string();
    for object in objects {
        assert!(error.contains(object), "{object} is not in {error}");
    }
}

/// Statements of `prepare` that a rebuild refuses, and the objects that the error names. `:e` is the schema of others.
const PREPARED: [(&str, &str); 16] = [
    ("INSERT INTO :e.totals VALUES (:n, 1)", "table :e.totals"),
    (
        "INSERT INTO :live.totals VALUES (100, 1)",
        "table :live.totals",
    ),
    (
        "DELETE FROM :store.events WHERE false",
        "table :store.events",
    ),
    ("CREATE TABLE :e.new (a int)", "table :e.new"),
    (
        "CREATE TABLE refers (position bigint REFERENCES :e.totals)",
        "table :e.totals",
    ),
    (
        "CREATE TABLE refers (position bigint REFERENCES :live.totals)",
        "table :live.totals",
    ),
    ("SELECT nextval(':e.numbers')", "sequence :e.numbers"),
    (
        "CREATE TRIGGER copy BEFORE INSERT ON totals FOR EACH ROW EXECUTE FUNCTION :e.copy(); INSERT INTO totals VALUES (9, 9)",
        "table :e.totals",
    ),
    (
        "CREATE OR REPLACE FUNCTION :e.copy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "function :e.copy()",
    ),
    (
        "CREATE FUNCTION :live.new() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "function :live.new()",
    ),
    (
        "SAVEPOINT a; CREATE TYPE :e.new AS ENUM (); RELEASE a",
        "type :e.new",
    ),
    (
        "GRANT SELECT ON :live.totals TO PUBLIC",
        "table :live.totals",
    ),
    ("GRANT USAGE ON SCHEMA :live TO PUBLIC", "schema :live"),
    ("CREATE TEMPORARY TABLE scratch (a int)", "table pg_temp"),
    ("CREATE VIEW shown AS SELECT * FROM :live.totals", "on view"),
    ("CREATE EXTENSION citext", "extension citext"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_whose_prepare_leaves_its_schema_applies_no_event() {
    let (database, elsewhere) = serving().await;
    let before = world(&database, &elsewhere).await;
    for (sql, object) in PREPARED {
        let text = |sql: &str| {
            database
                .text(sql)
                .replace(":e", &elsewhere)
                .replace(":n", "7")
        };
        let script = Script::new(format!("{CREATE}; {}", text(sql)), INSERT);
        let error = database.rebuild(script.clone()).await.unwrap_err();
        assert_forbidden(&error, &[&text(object).replace("pg_temp", "")]);
        assert_eq!(script.applied.load(Ordering::Relaxed), 0, "{sql}");
        similar_asserts(&world(&database, &elsewhere).await, &before);
    }
    // The control: it can be rebuilt, and live it goes on.
    assert_eq!(
        database.rebuild(totals()).await.unwrap(),
        RebuildOutcome::Swapped
    );
    crate::projection::add(&database.store, 1, 5).await;
    database.project(totals()).await.unwrap();
    assert_eq!(
        database.number("SELECT count(*) FROM :live.totals").await,
        10
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_projection_whose_prepare_leaves_its_schema_is_refused() {
    for (sql, object) in PREPARED {
        // It has no other read model than the one that is refused.
        if sql.contains(":live") {
            continue;
        }
        let database = Database::with_events(3).await;
        let elsewhere = format!("{}_elsewhere", database.schema);
        database
            .run(&format!(
                "CREATE SCHEMA {elsewhere}; CREATE TABLE {elsewhere}.totals (position bigint PRIMARY KEY, count bigint);
                 CREATE SEQUENCE {elsewhere}.numbers;
                 CREATE FUNCTION {elsewhere}.copy() RETURNS trigger LANGUAGE plpgsql AS
                    'BEGIN INSERT INTO {elsewhere}.totals VALUES (-NEW.position, 0); RETURN NEW; END'"
            ))
            .await;
        let before = world(&database, &elsewhere).await;
        let text = |sql: &str| {
            database
                .text(sql)
                .replace(":e", &elsewhere)
                .replace(":n", "7")
        };
        let script = Script::new(format!("{CREATE}; {}", text(sql)), INSERT);
        let error = database.project(script.clone()).await.unwrap_err();
        assert_forbidden(&error, &[&text(object).replace("pg_temp", "")]);
        assert_eq!(script.applied.load(Ordering::Relaxed), 0, "{sql}");
        similar_asserts(&world(&database, &elsewhere).await, &before);
        assert_eq!(schemas_of_made(&database).await, Vec::<String>::new());
    }
}

async fn schemas_of_made(database: &Database) -> Vec<String> {
    let sql = database.text("SELECT nspname::text FROM pg_namespace WHERE nspname = ':live'");
    let rows = database.client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Statements of `apply`, and the object that the error names.
const APPLIED: [(&str, &str); 5] = [
    ("INSERT INTO :e.totals VALUES (:n, 1)", "table :e.totals"),
    (
        "UPDATE :live.totals SET count = count + 1",
        "table :live.totals",
    ),
    (
        "UPDATE :store.projections SET position = 1000",
        "table :store.projections",
    ),
    ("SELECT nextval(':e.numbers')", "sequence :e.numbers"),
    (
        "CREATE TABLE IF NOT EXISTS :e.made (a int)",
        "table :e.made",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_whose_apply_leaves_its_schema_commits_nothing() {
    let (database, elsewhere) = serving().await;
    let before = world(&database, &elsewhere).await;
    for (sql, object) in APPLIED {
        let text = |sql: &str| database.text(sql).replace(":e", &elsewhere);
        let script = Script::new(CREATE, format!("{INSERT}; {}", text(sql)));
        let error = database.rebuild(script).await.unwrap_err();
        assert_forbidden(&error, &[&text(object)]);
        similar_asserts(&world(&database, &elsewhere).await, &before);
    }
    // A table that a migration made, and `prepare` does not.
    let unprepared = Script::new("CREATE TABLE IF NOT EXISTS other (a int)", INSERT);
    let error = database.rebuild(unprepared).await.unwrap_err();
    let said = chain(&error);
    assert!(said.contains("totals"), "{said}");
    assert_eq!(
        database.number("SELECT count(*) FROM :live.totals").await,
        5
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_projection_whose_apply_leaves_its_schema_commits_nothing() {
    let (database, elsewhere) = serving().await;
    crate::projection::add(&database.store, 1, 5).await;
    let before = world(&database, &elsewhere).await;
    for (sql, object) in APPLIED {
        if sql.contains(":live") || sql.contains("nextval") {
            continue;
        }
        let text = |sql: &str| database.text(sql).replace(":e", &elsewhere);
        let script = Script::new(CREATE, format!("{INSERT}; {}", text(sql)));
        let error = database.project(script).await.unwrap_err();
        assert_forbidden(&error, &[&text(object)]);
        similar_asserts(&world(&database, &elsewhere).await, &before);
    }
}

/// Objects of others that use the live read model, and the object that the error names.
const OUTSIDE: [(&str, &str); 12] = [
    (
        "CREATE VIEW :e.shown AS SELECT * FROM :live.totals",
        "view :e.shown",
    ),
    (
        "CREATE MATERIALIZED VIEW :e.stored AS SELECT count(*) FROM :live.totals",
        "view :e.stored",
    ),
    (
        "CREATE TABLE :e.refers (position bigint REFERENCES :live.totals)",
        "table :e.refers",
    ),
    (
        "CREATE TABLE :e.heir () INHERITS (:live.totals)",
        "table :e.heir",
    ),
    ("CREATE TABLE :e.rows (r :live.totals)", "table :e.rows"),
    (
        "CREATE FUNCTION :e.summed() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM :live.totals; END",
        "function :e.summed()",
    ),
    (
        "CREATE FUNCTION :e.listed() RETURNS SETOF :live.totals LANGUAGE sql AS 'SELECT 1::bigint, 1::bigint'",
        "function :e.listed()",
    ),
    (
        "CREATE TABLE :e.counted (a bigint DEFAULT :live.one())",
        "table :e.counted",
    ),
    (
        "CREATE TRIGGER watched BEFORE INSERT ON :e.totals FOR EACH ROW EXECUTE FUNCTION :live.watch()",
        "trigger watched",
    ),
    (
        "CREATE PUBLICATION p_:e FOR TABLE :live.totals",
        "publication p_:e",
    ),
    (
        "CREATE PUBLICATION p_:e FOR TABLES IN SCHEMA :live",
        "publication p_:e",
    ),
    ("CREATE EXTENSION citext SCHEMA :live", "extension citext"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_is_refused_while_others_use_the_live_read_model() {
    for (sql, object) in OUTSIDE {
        // Extensions belong to the database, which the tests share.
        let database = if sql.contains("EXTENSION") {
            Database::alone(5).await
        } else {
            Database::with_events(5).await
        };
        let elsewhere = serve(&database).await;
        let text = |sql: &str| database.text(sql).replace(":e", &elsewhere);
        database
            .run(
                "CREATE FUNCTION :live.one() RETURNS bigint LANGUAGE sql AS 'SELECT 1';
                 CREATE FUNCTION :live.watch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            )
            .await;
        database.run(&text(sql)).await;
        let before = world(&database, &elsewhere).await;
        let script = totals();
        let error = database.rebuild(script.clone()).await.unwrap_err();
        assert_forbidden(&error, &[&text(object)]);
        assert_eq!(script.applied.load(Ordering::Relaxed), 0, "{sql}");
        similar_asserts(&world(&database, &elsewhere).await, &before);
        // Without it, it can be rebuilt.
        let drop = format!(
            "DROP SCHEMA {elsewhere} CASCADE; DROP PUBLICATION IF EXISTS p_{elsewhere}; DROP EXTENSION IF EXISTS citext"
        );
        database.run(&drop).await;
        assert_eq!(
            database.rebuild(totals()).await.unwrap(),
            RebuildOutcome::Swapped
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_have_made_since_prepare_is_found_by_the_swap() {
    let (database, elsewhere) = serving().await;
    let before = world(&database, &elsewhere).await;
    // It is made while the rebuild applies events: what a stranger does can be done by `apply`, too, in another session.
    let view = format!(
        "CREATE VIEW {elsewhere}.shown AS SELECT * FROM {}.totals",
        database.live
    );
    let gate = Arc::new(Notify::new());
    let script = Gated {
        script: totals(),
        gate: gate.clone(),
        reached: Arc::default(),
    };
    let reached = script.reached.clone();
    let mut rebuild = ProjectionRunner::new(database.store.clone(), script).start_rebuild();
    reached.notified().await;
    database.run(&view).await;
    gate.notify_one();
    let error = rebuild.join().await.unwrap_err();
    assert_forbidden(&error, &[&format!("view {elsewhere}.shown")]);
    database.run(&format!("DROP VIEW {elsewhere}.shown")).await;
    similar_asserts(&world(&database, &elsewhere).await, &before);
    // It is not done again from the beginning.
    let script = totals();
    let mut rebuild =
        ProjectionRunner::new(database.store.clone(), script.clone()).resume_rebuild();
    assert_eq!(rebuild.join().await.unwrap(), RebuildOutcome::Swapped);
    assert_eq!(script.applied.load(Ordering::Relaxed), 0);
}

/// Waits at its first event.
struct Gated {
    script: Script,
    gate: Arc<Notify>,
    reached: Arc<Notify>,
}

impl Projection<PostgresTransaction> for Gated {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "model";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), Self::Error> {
        self.script.prepare(tx).await
    }

    async fn apply(
        &self,
        event: RecordedEvent,
        recorded: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), Self::Error> {
        if recorded.position.get() == 1 {
            self.reached.notify_one();
            self.gate.notified().await;
        }
        self.script.apply(event, recorded, tx).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_projections_do_not_write_one_table() {
    let (database, elsewhere) = serving().await;
    let before = world(&database, &elsewhere).await;
    let shared = database.text("UPDATE :live.totals SET count = count + 1 WHERE position = :n");
    let error = database
        .project(Other(Script::new("", shared)))
        .await
        .unwrap_err();
    assert_forbidden(&error, &[&database.text("table :live.totals")]);
    similar_asserts(&world(&database, &elsewhere).await, &before);
    // Without the schema, it is a table of its own.
    database.project(Other(totals())).await.unwrap();
    let other = database.store.read_model("other");
    assert_eq!(
        database
            .number(&format!("SELECT count(*) FROM {other}.totals"))
            .await,
        5
    );
    similar_asserts(&world(&database, &elsewhere).await, &before);
    assert_eq!(
        database.rebuild(totals()).await.unwrap(),
        RebuildOutcome::Swapped
    );
    assert_eq!(
        database
            .number(&format!("SELECT count(*) FROM {other}.totals"))
            .await,
        5
    );
    assert_eq!(schemas_of(&database).await, [database.live.clone(), other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_security_is_not_lost() {
    for (sql, object) in [
        (
            "ALTER TABLE :live.totals ENABLE ROW LEVEL SECURITY",
            "row security of table totals",
        ),
        (
            "ALTER TABLE :live.totals FORCE ROW LEVEL SECURITY",
            "row security of table totals",
        ),
        (
            "CREATE POLICY few ON :live.totals AS RESTRICTIVE USING (position > 1)",
            "policy few of table totals",
        ),
        ("ALTER TABLE :live.totals OWNER TO pg_monitor", "table"),
    ] {
        let (database, elsewhere) = serving().await;
        database.run(sql).await;
        let before = world(&database, &elsewhere).await;
        let script = totals();
        let error = database.rebuild(script.clone()).await.unwrap_err();
        assert_forbidden(&error, &[object]);
        assert_eq!(script.applied.load(Ordering::Relaxed), 0, "{sql}");
        similar_asserts(&world(&database, &elsewhere).await, &before);
    }
    // The control: `prepare` makes it.
    let (database, _) = serving().await;
    database
        .run(
            "ALTER TABLE :live.totals ENABLE ROW LEVEL SECURITY;
             CREATE POLICY few ON :live.totals AS RESTRICTIVE USING (position > 1)",
        )
        .await;
    let script = Script::new(
        format!("{CREATE}; ALTER TABLE totals ENABLE ROW LEVEL SECURITY; DROP POLICY IF EXISTS few ON totals;
                 CREATE POLICY few ON totals AS RESTRICTIVE USING (position > 1)"),
        INSERT,
    );
    let before = database.dump().await;
    assert_eq!(
        database.rebuild(script).await.unwrap(),
        RebuildOutcome::Swapped
    );
    similar_asserts(&database.dump().await, &before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_of_a_stranger_is_never_used_or_dropped() {
    for sql in [
        "CREATE SCHEMA :live; CREATE TABLE :live.theirs (a int)",
        "CREATE SCHEMA :live; CREATE TYPE :live.theirs AS ENUM ()",
        "CREATE SCHEMA :live; CREATE FUNCTION :live.theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA :live AUTHORIZATION pg_monitor",
    ] {
        let database = Database::with_events(3).await;
        database.run(sql).await;
        let before = database.dump().await;
        let script = totals();
        let error = database.project(script.clone()).await.unwrap_err();
        assert_forbidden(&error, &[&format!("schema `{}`", database.live)]);
        let error = database
            .rebuild(script.clone())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("schema `{}`", database.live)),
            "{error}"
        );
        assert_eq!(script.applied.load(Ordering::Relaxed), 0);
        similar_asserts(&database.dump().await, &before);
    }
    // An empty one that is ours is taken, with its default privileges.
    let database = Database::with_events(3).await;
    database
        .run("CREATE SCHEMA :live; ALTER DEFAULT PRIVILEGES IN SCHEMA :live GRANT SELECT ON TABLES TO pg_monitor")
        .await;
    database.project(totals()).await.unwrap();
    let granted = "SELECT count(*) FROM information_schema.role_table_grants WHERE table_schema = ':live' AND grantee = 'pg_monitor'";
    assert_eq!(database.number(granted).await, 1);
}
