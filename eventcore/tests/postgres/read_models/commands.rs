//! Commands go on while a large read model is swapped.

use eventcore::{
    postgres::{PostgresReadModel, tokio_postgres::Client},
    projection::{Leadership, Lease, LeaseError, Progress, ProjectionDatabase, ReadModel},
};

use super::{
    database::{Database, SOON, connect},
    script::Script,
};
use crate::projection::add;

const EVENTS: u64 = 4;
const CREATE: &str = "CREATE TABLE IF NOT EXISTS large (n bigint PRIMARY KEY, pad text NOT NULL)";
/// 25 MiB for each event.
const INSERT: &str = "INSERT INTO large SELECT :n * 100000 + i, repeat('x', 1000) FROM generate_series(1, 25 * 1024) i";
/// The size of the read model in bytes.
const SIZE: &str = "SELECT pg_total_relation_size(':live.large')";
const LARGE: i64 = 100 << 20;

/// The fate of a command that was begun while a swap was under way.
#[derive(Debug, PartialEq)]
enum Fate {
    /// It was done while the same swap was still under way.
    Done,
    /// It waited for a lock meanwhile.
    Waited,
    /// The swap ended before either was seen.
    Missed,
}

/// Builds another version of the read model beside the live one, ready to be swapped in.
async fn build(database: &Database) -> (PostgresReadModel, Lease) {
    let rebuild = database.store.rebuild("model", true).await.unwrap();
    let Leadership::Taken(lease) = rebuild.lead("me", SOON).await.unwrap() else {
        panic!("nobody else rebuilds")
    };
    let mut tx = rebuild.begin(&lease).await.unwrap();
    tx.execute_batch(CREATE).await.unwrap();
    for n in 1..=EVENTS {
        let insert = INSERT.replace(":n", &n.to_string());
        tx.execute_batch(&insert).await.unwrap();
    }
    let progress = Progress {
        position: database.head().await,
        term: SOON,
        park: None,
        replayed: None,
    };
    rebuild.commit(tx, &lease, progress).await.unwrap();
    (rebuild, lease)
}

/// Swaps a large read model for another one, while a lock that a stranger holds stops each attempt at its last step, just
/// before the commit, and runs a command in the meantime. Another stranger holds what `lock` locks during each attempt.
async fn command_during_a_swap(lock: &str) -> Fate {
    let database = Database::with_events(EVENTS).await;
    database.project(Script::new(CREATE, INSERT)).await.unwrap();
    let (rebuild, lease) = build(&database).await;
    assert!(database.number(SIZE).await >= LARGE);
    let (stopping, locking) = (connect(&database.url).await, connect(&database.url).await);
    let stop = database.text("BEGIN; LOCK TABLE :store.dead_letters IN SHARE MODE");
    stopping.batch_execute(&stop).await.unwrap();
    let lock = format!("BEGIN; {}", database.text(lock));
    let mut fate = Fate::Missed;
    while fate == Fate::Missed {
        let (live, rebuild) = (database.store.live("model"), rebuild.clone());
        let (lease, end) = (lease.clone(), database.head().await);
        locking.batch_execute(&lock).await.unwrap();
        let swapping = tokio::spawn(async move { live.swap(&rebuild, &lease, end).await });
        if let Some(swap) = under_way(&database, || swapping.is_finished()).await {
            fate = command(&database, swap, &locking).await;
        }
        locking.batch_execute("ROLLBACK").await.unwrap();
        let swapped = swapping.await.unwrap();
        assert!(
            matches!(&swapped, Err(LeaseError::Database(error)) if error.is_transient()),
            "{swapped:?}"
        );
    }
    stopping.batch_execute("ROLLBACK").await.unwrap();
    let live = database.store.live("model");
    let end = database.head().await;
    assert!(live.swap(&rebuild, &lease, end).await.unwrap());
    assert!(database.number(SIZE).await >= LARGE);
    fate
}

/// The transaction of a swap that waits at its last step, or `None` if the attempt has ended before one was seen.
async fn under_way(database: &Database, is_over: impl Fn() -> bool) -> Option<String> {
    loop {
        let over = is_over();
        let seen = waiting(database, "dead_letters").await;
        if seen.is_some() || over {
            return seen;
        }
    }
}

/// A transaction that uses a table of the store and waits for a lock.
async fn waiting(database: &Database, table: &str) -> Option<String> {
    let sql = database.text(&format!(
        "SELECT DISTINCT a.pid || ' ' || a.xact_start FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
          WHERE l.relation = ':store.{table}'::regclass AND a.wait_event_type = 'Lock'"
    ));
    let rows = database.client.query(&sql, &[]).await.unwrap();
    rows.first().map(|row| row.get(0))
}

/// Runs a command, until it is done or waits.
async fn command(database: &Database, swap: String, locking: &Client) -> Fate {
    let store = database.store.clone();
    let command = tokio::spawn(async move { add(&store, 2, 1).await });
    loop {
        let is_done = command.is_finished();
        let is_waiting = waiting(database, "sequencer").await.is_some();
        let is_under_way = waiting(database, "dead_letters").await.as_ref() == Some(&swap);
        let fate = match (is_under_way, is_done, is_waiting) {
            (true, true, _) => Fate::Done,
            (true, false, true) => Fate::Waited,
            (true, false, false) => continue,
            (false, ..) => Fate::Missed,
        };
        locking.batch_execute("ROLLBACK").await.unwrap();
        command.await.unwrap();
        return fate;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_done_while_a_large_read_model_is_swapped() {
    assert_eq!(command_during_a_swap("").await, Fate::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_is_seen_to_wait_if_a_swap_locks_the_store() {
    let lock = "SELECT FROM :store.sequencer FOR UPDATE";
    assert_eq!(command_during_a_swap(lock).await, Fate::Waited);
}
