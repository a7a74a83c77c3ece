//! Roles with just the rights that the guide names, and the rights of others, which a rebuild leaves as they are.

use eventcore::{
    postgres::{PostgresConfig, PostgresEventStore},
    projection::{ErrorPolicy, ProjectionRunner, RebuildOutcome, wait_for},
};

use super::{
    database::{Database, SOON, connect},
    objects::similar_asserts,
    script::Script,
};
use crate::server;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS totals (position bigint PRIMARY KEY, name text);
     CREATE TABLE IF NOT EXISTS other (a int);
     CREATE SEQUENCE IF NOT EXISTS numbers;
     CREATE OR REPLACE VIEW shown AS SELECT position FROM totals;
     CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
     CREATE OR REPLACE FUNCTION of_row(totals) RETURNS int LANGUAGE sql AS 'SELECT 1';
     DO $$ BEGIN CREATE TYPE mood AS ENUM ('calm'); EXCEPTION WHEN duplicate_object THEN NULL; END $$";
const INSERT: &str = "INSERT INTO totals VALUES (:n)";

fn totals() -> Script {
    Script::new(CREATE, INSERT)
}

/// A new role, and the store as it sees it.
struct Limited {
    role: String,
    config: PostgresConfig,
}

impl Limited {
    /// Grants a new role what the guide names for projections.
    async fn of(database: &Database) -> Self {
        let role = format!("role_{}", uuid::Uuid::now_v7().simple());
        database
            .run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'"))
            .await;
        let guide = include_str!("../../../docs/postgres.md");
        let (_, rights) = guide
            .split_once("-- A role that runs projections\n")
            .unwrap();
        let (rights, _) = rights.split_once("```").unwrap();
        let rights = rights
            .replace("eventcore.", &format!("{}.", database.schema))
            .replace("SCHEMA eventcore ", &format!("SCHEMA {} ", database.schema))
            .replace(
                "DATABASE bank ",
                &format!("DATABASE {} ", database.name().await),
            )
            .replace("TO bank", &format!("TO {role}"));
        database.run(&rights).await;
        let url = server::url();
        let (_, rest) = url.split_once('@').unwrap();
        let config = PostgresConfig::new(&format!("postgres://{role}:secret@{rest}")).unwrap();
        let config = server::patient(config.schema(database.schema.as_str()).unwrap());
        Self { role, config }
    }

    async fn store(&self) -> PostgresEventStore {
        self.config.connect().await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_the_rights_that_the_guide_names_projects_and_rebuilds() {
    let database = Database::with_events(20).await;
    let limited = Limited::of(&database).await;
    let store = limited.store().await;
    let head = database.head().await;
    let running = ProjectionRunner::new(store.clone(), totals())
        .on_error(ErrorPolicy::stop())
        .start();
    wait_for(&store, "model", head, SOON).await.unwrap();
    running.stop().await.unwrap();
    for _ in 0..2 {
        let mut rebuild = ProjectionRunner::new(store.clone(), totals()).start_rebuild();
        assert_eq!(rebuild.join().await.unwrap(), RebuildOutcome::Swapped);
    }
    assert_eq!(
        database.number("SELECT count(*) FROM :live.totals").await,
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_not_create_schemas_is_told_at_the_start() {
    let database = Database::with_events(5).await;
    let limited = Limited::of(&database).await;
    let (role, name) = (&limited.role, database.name().await);
    let revoke = format!("REVOKE CREATE ON DATABASE {name} FROM {role}");
    database.run(&revoke).await;
    let store = limited.store().await;
    let script = totals();
    let applied = script.applied.clone();
    let runner = ProjectionRunner::new(store.clone(), script);
    let grant = format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{role}\"");
    let error = runner
        .clone()
        .run_until(std::future::pending())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&grant), "{error}");
    // A schema that it owns is enough to project into.
    let (_, authorization) = error.split_once(", or `").unwrap();
    let (authorization, _) = authorization.split_once('`').unwrap();
    database.run(authorization).await;
    let running = runner.clone().start();
    wait_for(&store, "model", database.head().await, SOON)
        .await
        .unwrap();
    running.stop().await.unwrap();
    let before = database.dump().await;
    let called = applied.load(std::sync::atomic::Ordering::Relaxed);
    // A rebuild needs more, and says so before it begins.
    let error = runner
        .clone()
        .start_rebuild()
        .join()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&grant), "{error}");
    assert_eq!(applied.load(std::sync::atomic::Ordering::Relaxed), called);
    similar_asserts(&database.dump().await, &before);
    database.run(&grant).await;
    // Nor does it replace what belongs to another role.
    database
        .run("ALTER SCHEMA :live OWNER TO CURRENT_USER")
        .await;
    let error = runner
        .clone()
        .start_rebuild()
        .join()
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("OWNER TO \"{role}\"")), "{error}");
    assert_eq!(applied.load(std::sync::atomic::Ordering::Relaxed), called);
    database
        .run(&format!("ALTER SCHEMA :live OWNER TO {role}"))
        .await;
    assert_eq!(
        runner.start_rebuild().join().await.unwrap(),
        RebuildOutcome::Swapped
    );
}

/// The rights of a role on the read model.
async fn rights_of(database: &Database, role: &str) -> Vec<(String, bool)> {
    let sql = database.text(&format!(
        "SELECT 'schema ' || p, has_schema_privilege('{role}', ':live', p) FROM unnest('{{USAGE,CREATE}}'::text[]) p
         UNION ALL SELECT c.relname || ' ' || p, has_table_privilege('{role}', c.oid, p)
           FROM pg_class c, unnest('{{SELECT,INSERT,UPDATE,DELETE,SELECT WITH GRANT OPTION}}'::text[]) p
          WHERE c.relnamespace = ':live'::regnamespace AND c.relkind IN ('r', 'v')
         UNION ALL SELECT c.relname || '.' || a.attname, has_column_privilege('{role}', c.oid, a.attnum, 'UPDATE')
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
          WHERE c.relnamespace = ':live'::regnamespace AND c.relkind = 'r'
         UNION ALL SELECT c.relname || ' sequence', has_sequence_privilege('{role}', c.oid, 'USAGE')
           FROM pg_class c WHERE c.relnamespace = ':live'::regnamespace AND c.relkind = 'S'
         UNION ALL SELECT p.proname::text, has_function_privilege('{role}', p.oid, 'EXECUTE')
           FROM pg_proc p WHERE p.pronamespace = ':live'::regnamespace
         UNION ALL SELECT t.typname::text, has_type_privilege('{role}', t.oid, 'USAGE')
           FROM pg_type t WHERE t.typnamespace = ':live'::regnamespace AND t.typtype = 'e' ORDER BY 1"
    ));
    let rows = database.client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_others_are_the_same_after_a_rebuild() {
    let database = Database::with_events(5).await;
    database.project(totals()).await.unwrap();
    let (reader, nobody) = (
        Limited::of(&database).await.role,
        Limited::of(&database).await.role,
    );
    let plain = rights_of(&database, &reader).await;
    database
        .run(&format!(
            "GRANT USAGE ON SCHEMA :live TO {reader};
             GRANT SELECT ON :live.totals TO {reader} WITH GRANT OPTION;
             GRANT SELECT ON :live.shown TO {reader};
             GRANT UPDATE (name) ON :live.totals TO {reader};
             GRANT INSERT ON :live.other TO PUBLIC;
             GRANT USAGE ON :live.numbers TO {reader};
             REVOKE ALL ON FUNCTION :live.one FROM PUBLIC;
             REVOKE ALL ON FUNCTION :live.of_row FROM PUBLIC;
             GRANT EXECUTE ON FUNCTION :live.of_row TO {reader};
             REVOKE ALL ON TYPE :live.mood FROM PUBLIC;
             GRANT USAGE ON TYPE :live.mood TO {reader};
             ALTER DEFAULT PRIVILEGES IN SCHEMA :live GRANT SELECT ON TABLES TO {reader}"
        ))
        .await;
    let before = (
        rights_of(&database, &reader).await,
        rights_of(&database, &nobody).await,
    );
    assert_ne!(before.0, plain, "the control: nothing was granted");
    assert_ne!(before.1, plain, "the control: nothing was revoked");
    for _ in 0..2 {
        assert_eq!(
            database.rebuild(totals()).await.unwrap(),
            RebuildOutcome::Swapped
        );
        assert_eq!(rights_of(&database, &reader).await, before.0);
        assert_eq!(rights_of(&database, &nobody).await, before.1);
    }
    // What a later version of the projection makes has the default privileges as well.
    let more = Script::new(
        format!("{CREATE}; CREATE TABLE IF NOT EXISTS more (a int)"),
        INSERT,
    );
    assert_eq!(
        database.rebuild(more).await.unwrap(),
        RebuildOutcome::Swapped
    );
    let after = rights_of(&database, &reader).await;
    assert!(
        after.contains(&("more SELECT".to_owned(), true)),
        "{after:?}"
    );
    assert!(
        after.contains(&("more INSERT".to_owned(), false)),
        "{after:?}"
    );
    let as_reader = server::url();
    let (_, rest) = as_reader.split_once('@').unwrap();
    let client = connect(&format!("postgres://{reader}:secret@{rest}")).await;
    let sql = database.text("SELECT count(*) FROM :live.totals");
    let counted: i64 = client.query_one(&sql, &[]).await.unwrap().get(0);
    assert_eq!(counted, 5);
}
