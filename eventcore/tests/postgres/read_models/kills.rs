//! A swap that is killed leaves the old or the new read model, with its own checkpoint and dead letters; former leaders and
//! rebuilds are refused.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use eventcore::{
    Position,
    postgres::{PostgresConfig, PostgresEventStore, PostgresReadModel, tokio_postgres::Client},
    projection::{
        ErrorPolicy, Leadership, Lease, LeaseError, Progress, ProjectionDatabase, ProjectionRunner,
        ReadModel, RebuildOutcome, dead_letters,
    },
};

use super::{
    database::{Database, SOON, connect},
    objects::similar_asserts,
    script::Script,
};
use crate::server;

const EVENTS: u64 = 12;
const TERM: Duration = Duration::from_secs(1);
/// No live read model is beyond the end of the log.
const ANY: Position = Position::new(u64::MAX);

/// A version of the read model, of a shape of its own, that parks the event at one position.
fn version(shape: u64) -> Script {
    let refused = shape + 2;
    Script::new(
        format!(
            "CREATE TABLE IF NOT EXISTS facts (position bigint PRIMARY KEY CHECK (position <> {refused}), shape{shape} bigint);
             CREATE TABLE IF NOT EXISTS only_{shape} (position bigint PRIMARY KEY REFERENCES facts);
             CREATE OR REPLACE VIEW shown AS SELECT {shape}::bigint AS shape;
             CREATE OR REPLACE FUNCTION pathed() RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS
                 'BEGIN RETURN (SELECT count(*) FROM facts); END'"
        ),
        format!("INSERT INTO facts VALUES (:n, {shape}); INSERT INTO only_{shape} VALUES (:n)"),
    )
}

fn runner(
    store: &PostgresEventStore,
    shape: u64,
) -> ProjectionRunner<PostgresEventStore, PostgresEventStore, Script> {
    ProjectionRunner::new(store.clone(), version(shape))
        .on_error(ErrorPolicy::park().attempts(1))
        .lease(TERM)
}

/// Rebuilds, and resumes for as long as it is broken off.
async fn rebuild(store: &PostgresEventStore, shape: u64) {
    let rebuilt = async {
        let mut outcome = runner(store, shape).start_rebuild().join().await;
        while outcome.is_err() {
            outcome = runner(store, shape).resume_rebuild().join().await;
        }
        assert_eq!(outcome.unwrap(), RebuildOutcome::Swapped);
    };
    tokio::time::timeout(SOON, rebuilt).await.unwrap();
}

/// The shape that is shown, the checkpoint and the dead letters, as one statement sees them.
async fn seen(client: &Client, database: &Database) -> (i64, i64, Vec<i64>) {
    let sql = database.text(
        "SELECT (SELECT shape FROM :live.shown), p.position,
                ARRAY(SELECT d.position FROM :store.dead_letters d WHERE d.projection = 'model' ORDER BY 1)
           FROM :store.projections p WHERE p.name = 'model'",
    );
    let row = client.query_one(&sql, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

fn of_shape(shape: u64) -> (i64, i64, Vec<i64>) {
    let shape = shape.cast_signed();
    (shape, EVENTS.cast_signed(), vec![shape + 2])
}

/// Looks until it is told to stop; returns the shapes that it has seen.
async fn watch(database: Arc<Database>, stop: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut shapes = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let found = seen(&database.client, &database).await;
        assert_eq!(found, of_shape(found.0.unsigned_abs()), "a part of each");
        shapes.insert(found.0);
    }
    shapes
}

/// Statements of a swap that are killed, as the server calls them, before and after they run.
const STATEMENTS: [&str; 9] = [
    "ddl_command_start ALTER TABLE",
    "ddl_command_start GRANT",
    "ddl_command_start ALTER FUNCTION",
    "ddl_command_end ALTER ROUTINE",
    "ddl_command_end GRANT",
    "ddl_command_start DROP SCHEMA",
    "ddl_command_end DROP SCHEMA",
    "ddl_command_start ALTER SCHEMA",
    "ddl_command_end ALTER SCHEMA",
];

/// Changes of the store's tables that are killed, and the commit.
const CHANGES: [&str; 4] = [
    "UPDATE projections",
    "DELETE dead_letters",
    "DELETE projections",
    "COMMIT projections",
];

const TRAPS: &str = "
    CREATE SCHEMA traps;
    CREATE TABLE traps.armed (point text);
    CREATE SEQUENCE traps.sprung;
    CREATE FUNCTION traps.spring(point text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            IF point IN (SELECT a.point FROM traps.armed a) AND nextval('traps.sprung') = 1 THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
                PERFORM pg_sleep(10);
            END IF;
        END $$;
    CREATE FUNCTION traps.on_statement() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM traps.spring(tg_event || ' ' || tg_tag); END $$;
    CREATE FUNCTION traps.on_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- Only what a swap changes: the rebuild's own row, or the live one that takes its checkpoint over.
            IF tg_op = 'DELETE' THEN
                PERFORM traps.spring(tg_argv[0] || ' ' || tg_table_name);
            ELSIF NEW.fence > OLD.fence AND NEW.leader IS NULL AND NEW.name NOT LIKE '%/rebuild' THEN
                PERFORM traps.spring(tg_argv[0] || ' ' || tg_table_name);
            END IF;
            RETURN NULL;
        END $$;
    CREATE EVENT TRIGGER starts ON ddl_command_start EXECUTE FUNCTION traps.on_statement();
    CREATE EVENT TRIGGER ends ON ddl_command_end EXECUTE FUNCTION traps.on_statement();
    CREATE TRIGGER updated AFTER UPDATE ON :store.projections FOR EACH ROW EXECUTE FUNCTION traps.on_change('UPDATE');
    CREATE TRIGGER deleted AFTER DELETE ON :store.projections FOR EACH ROW EXECUTE FUNCTION traps.on_change('DELETE');
    CREATE TRIGGER letters AFTER DELETE ON :store.dead_letters FOR EACH ROW EXECUTE FUNCTION traps.on_change('DELETE');
    CREATE CONSTRAINT TRIGGER committed AFTER DELETE ON :store.projections DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION traps.on_change('COMMIT');";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_is_killed_at_any_statement_leaves_the_old_or_the_new_read_model() {
    let database = Arc::new(Database::alone(EVENTS).await);
    let store = database.store.clone();
    rebuild(&store, 1).await;
    database
        .run(&format!(
            "GRANT SELECT ON :live.facts TO pg_monitor; {TRAPS}"
        ))
        .await;
    let mut shape = 1;
    let stop = Arc::new(AtomicBool::new(false));
    let watching = tokio::spawn(watch(database.clone(), stop.clone()));
    let dumps = {
        rebuild(&store, 2).await;
        let second = database.dump().await;
        rebuild(&store, 1).await;
        [database.dump().await, second]
    };
    let trapper = connect(&database.url).await;
    let mut missed = Vec::new();
    for point in STATEMENTS.iter().chain(&CHANGES) {
        let arm = format!(
            "SELECT setval('traps.sprung', 1, false); DELETE FROM traps.armed; INSERT INTO traps.armed VALUES ('{point}')"
        );
        trapper.batch_execute(&arm).await.unwrap();
        shape = 3 - shape;
        rebuild(&store, shape).await;
        let sprung = "SELECT is_called FROM traps.sprung";
        if !trapper
            .query_one(sprung, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            missed.push(*point);
        }
        assert_eq!(seen(&trapper, &database).await, of_shape(shape), "{point}");
        let expected = &dumps[usize::from(shape == 2)];
        similar_asserts(&dump(&trapper, &database).await, expected);
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!(watching.await.unwrap(), BTreeSet::from([1, 2]));
    // One of two names for the same statement.
    assert_eq!(missed, ["ddl_command_start ALTER FUNCTION"]);
    assert_eq!(
        super::objects::schemas_of(&database).await,
        std::slice::from_ref(&database.live)
    );
}

async fn dump(client: &Client, database: &Database) -> String {
    super::dump::dump(client, &database.live).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebuilds_whose_connections_are_killed_at_random_end_well() {
    let name = format!("victim_{}", fastrand::u64(..));
    let url = server::url();
    let next = if url.contains('?') { '&' } else { '?' };
    let config = PostgresConfig::new(&format!("{url}{next}application_name={name}")).unwrap();
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    let config = server::patient(config.schema(schema).unwrap());
    let database = Arc::new(Database::of(config, EVENTS).await);
    let store = database.store.clone();
    rebuild(&store, 1).await;
    let (stop, killer) = (
        Arc::new(AtomicBool::new(false)),
        connect(&server::url()).await,
    );
    let watching = tokio::spawn(watch(database.clone(), stop.clone()));
    // So many in each round, so that it comes to an end on a machine of any speed.
    let left = Arc::new(AtomicUsize::new(0));
    let victims = Arc::new(AtomicUsize::new(0));
    let killing = {
        let (stop, left, victims) = (stop.clone(), left.clone(), victims.clone());
        tokio::spawn(async move {
            let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name = $1 AND state <> 'idle' ORDER BY random() LIMIT 1";
            while !stop.load(Ordering::Relaxed) {
                if left.load(Ordering::Relaxed) > 0 {
                    let now = killer.query(kill, &[&name]).await.unwrap().len();
                    left.store(
                        left.load(Ordering::Relaxed).saturating_sub(now),
                        Ordering::Relaxed,
                    );
                    victims.fetch_add(now, Ordering::Relaxed);
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(5..100))).await;
            }
        })
    };
    // Ten rounds, and more until a kill has met one.
    for round in 0.. {
        if round >= 10 && victims.load(Ordering::Relaxed) > 0 {
            break;
        }
        assert!(round < 1000, "nothing was killed");
        let shape = 2 - round % 2;
        left.store(4, Ordering::Relaxed);
        rebuild(&store, shape).await;
        left.store(0, Ordering::Relaxed);
        let client = connect(&server::url()).await;
        assert_eq!(seen(&client, &database).await, of_shape(shape));
    }
    stop.store(true, Ordering::Relaxed);
    killing.await.unwrap();
    watching.await.unwrap();
    let letters = dead_letters(&store, "model", Position::START)
        .await
        .unwrap();
    assert_eq!(letters.len(), 1);
}

async fn take(model: &PostgresReadModel) -> Lease {
    match model.seize("test", TERM).await.unwrap() {
        Leadership::Taken(lease) => lease,
        Leadership::Held { leader } => panic!("{leader} leads"),
    }
}

/// Writes a row and moves the checkpoint.
async fn write(model: &PostgresReadModel, lease: &Lease, to: u64) -> Result<(), LeaseError> {
    let mut tx = model.begin(lease).await?;
    tx.execute("INSERT INTO facts VALUES (1000)", &[]).await?;
    let progress = Progress {
        position: Position::new(to),
        term: TERM,
        park: None,
        replayed: None,
    };
    model.commit(tx, lease, progress).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_leader_does_not_write_into_the_new_read_model() {
    let database = Database::with_events(EVENTS).await;
    rebuild(&database.store, 1).await;
    let live = database.store.live("model");
    let lease = take(&live).await;
    // Its transaction has begun, and finds the new tables when it goes on.
    let mut begun = live.begin(&lease).await.unwrap();
    begun.execute("SELECT 1", &[]).await.unwrap();
    rebuild(&database.store, 2).await;
    let after = database.dump().await;
    begun
        .execute("INSERT INTO facts VALUES (1000)", &[])
        .await
        .unwrap();
    let progress = Progress {
        position: Position::new(EVENTS + 1),
        term: TERM,
        park: None,
        replayed: None,
    };
    let refused = live.commit(begun, &lease, progress).await;
    assert!(matches!(refused, Err(LeaseError::Lost)), "{refused:?}");
    assert!(matches!(
        write(&live, &lease, 1000).await,
        Err(LeaseError::Lost)
    ));
    assert!(matches!(
        live.renew(&lease, TERM).await,
        Err(LeaseError::Lost)
    ));
    similar_asserts(&database.dump().await, &after);
    // The control: the one who leads now does.
    let lease = take(&live).await;
    write(&live, &lease, EVENTS + 1).await.unwrap();
    assert_ne!(database.dump().await, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_rebuilds_the_later_one_is_swapped_in() {
    let database = Database::with_events(EVENTS).await;
    rebuild(&database.store, 1).await;
    let before = database.dump().await;
    let live = database.store.live("model");
    let first = database.store.rebuild("model", true).await.unwrap();
    let lease = take(&first).await;
    let mut tx = first.begin(&lease).await.unwrap();
    tx.execute_batch("CREATE TABLE facts (position bigint)")
        .await
        .unwrap();
    let progress = Progress {
        position: Position::new(EVENTS),
        term: TERM,
        park: None,
        replayed: None,
    };
    first.commit(tx, &lease, progress).await.unwrap();
    // The second begins at the beginning, and what the first does now is refused.
    let second = database.store.rebuild("model", true).await.unwrap();
    let lease = Lease {
        position: Position::new(EVENTS),
        ..lease
    };
    assert!(matches!(
        live.swap(&first, &lease, ANY).await,
        Err(LeaseError::Lost)
    ));
    let mut tx = first.begin(&lease).await.unwrap();
    tx.execute_batch("CREATE TABLE facts (position bigint)")
        .await
        .unwrap();
    let progress = Progress {
        position: Position::new(EVENTS + 1),
        term: TERM,
        park: None,
        replayed: None,
    };
    assert!(matches!(
        first.commit(tx, &lease, progress).await,
        Err(LeaseError::Lost)
    ));
    similar_asserts(&database.dump().await, &before);
    // One that has not come as far as the live one is not swapped in.
    let lease = take(&second).await;
    assert!(!live.swap(&second, &lease, ANY).await.unwrap());
    similar_asserts(&database.dump().await, &before);
    second.resign(&lease).await.unwrap();
    let resumed = runner(&database.store, 2)
        .resume_rebuild()
        .join()
        .await
        .unwrap();
    assert_eq!(resumed, RebuildOutcome::Swapped);
    // The first is told that it is over.
    let ended = first.lead("test", TERM).await.unwrap_err().to_string();
    assert!(
        ended.contains("was completed by another process"),
        "{ended}"
    );
    let resigned = first.resign(&lease).await;
    assert!(resigned.is_ok());
    assert_eq!(seen(&database.client, &database).await, of_shape(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_read_model_whose_schema_is_gone_is_made_again_by_a_rebuild() {
    let database = Database::with_events(EVENTS).await;
    rebuild(&database.store, 1).await;
    database.run("DROP SCHEMA :live CASCADE").await;
    let error = database.project(version(1)).await.unwrap_err().to_string();
    assert!(
        error.contains("start_rebuild") && error.contains(&database.live),
        "{error}"
    );
    assert_eq!(database.head().await, Position::new(EVENTS));
    rebuild(&database.store, 1).await;
    assert_eq!(seen(&database.client, &database).await, of_shape(1));
    // So is one of a projection that has come some way without a read model: its rows would begin in the middle.
    let without = Database::with_events(EVENTS).await;
    without.project(Script::new("", "")).await.unwrap();
    let store = without.dump_store().await;
    let error = without.project(version(1)).await.unwrap_err().to_string();
    assert!(
        error.contains("start_rebuild") && error.contains(&without.live),
        "{error}"
    );
    similar_asserts(&without.dump_store().await, &store);
    rebuild(&without.store, 1).await;
    assert_eq!(seen(&without.client, &without).await, of_shape(1));
}
