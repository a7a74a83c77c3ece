//! Readers that know nothing of swaps see one version of the read model in each statement and transaction.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use eventcore::{
    EventStoreError, RecordedEvent,
    postgres::{PostgresTransaction, tokio_postgres::Client},
    projection::{Projection, ProjectionRunner, RebuildOutcome},
};

use super::{
    database::{Database, connect},
    script::Script,
};
use crate::server;

const EVENTS: u64 = 40;
const SWAPS: u64 = 20;

/// `facts` is a table, and `shown` a view of it.
fn tables() -> Script {
    Script::new(
        "CREATE TABLE IF NOT EXISTS facts (position bigint PRIMARY KEY, shape bigint NOT NULL DEFAULT 1);
         CREATE TABLE IF NOT EXISTS more (shape bigint NOT NULL DEFAULT 1, position bigint PRIMARY KEY REFERENCES facts);
         CREATE OR REPLACE VIEW shown AS SELECT shape, position FROM facts",
        "INSERT INTO facts (position) VALUES (:n); INSERT INTO more (position) VALUES (:n)",
    )
}

/// `facts` is a view, `shown` a table, and the columns of `more` are others.
fn views() -> Script {
    Script::new(
        "CREATE TABLE IF NOT EXISTS shown (note text, shape bigint NOT NULL DEFAULT 2, position bigint PRIMARY KEY);
         CREATE TABLE IF NOT EXISTS more (position bigint PRIMARY KEY, other int, shape bigint NOT NULL DEFAULT 2);
         CREATE OR REPLACE VIEW facts AS SELECT position, shape FROM shown",
        "INSERT INTO shown (position) VALUES (:n); INSERT INTO more (position) VALUES (:n)",
    )
}

/// The lowest and highest version in the whole read model, and the number of rows.
fn look(schema: &str) -> String {
    let of = |table| format!("SELECT shape FROM {schema}{table}");
    let all = ["facts", "more", "shown"].map(of).join(" UNION ALL ");
    format!("SELECT min(shape), max(shape), count(*) FROM ({all}) a")
}

/// Reads until it is told to stop; returns the number of looks.
async fn read(
    client: Client,
    schema: String,
    stop: Arc<AtomicBool>,
    began: Arc<AtomicU64>,
    kind: usize,
) -> u64 {
    let path = format!("SET search_path = {schema}, public");
    client.batch_execute(&path).await.unwrap();
    let qualified = look(&format!("{schema}."));
    let unqualified = look("");
    let prepared = client.prepare(&unqualified).await.unwrap();
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let seen: Vec<(i64, i64, i64)> = match kind {
            // In one transaction, both kinds of statements after one another.
            0 => {
                client.batch_execute("BEGIN").await.unwrap();
                let mut seen = Vec::new();
                for sql in [&qualified, &unqualified] {
                    let row = client.query_one(sql.as_str(), &[]).await.unwrap();
                    seen.push((row.get(0), row.get(1), row.get(2)));
                }
                client.batch_execute("COMMIT").await.unwrap();
                seen
            }
            1 => {
                let row = client.query_one(&prepared, &[]).await.unwrap();
                vec![(row.get(0), row.get(1), row.get(2))]
            }
            _ => {
                let row = client.query_one(qualified.as_str(), &[]).await.unwrap();
                vec![(row.get(0), row.get(1), row.get(2))]
            }
        };
        let (lowest, _, _) = seen[0];
        let rows = i64::try_from(3 * EVENTS).unwrap();
        for one in seen {
            assert_eq!(
                one,
                (lowest, lowest, rows),
                "two versions, or a part of one"
            );
        }
        if looks == 0 {
            began.fetch_add(1, Ordering::Relaxed);
        }
        looks += 1;
    }
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_one_version_at_a_time() {
    let database = Database::with_events(EVENTS).await;
    database.project(tables()).await.unwrap();
    let (stop, began) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let mut readers = Vec::new();
    for kind in [0, 1, 2, 1] {
        let client = connect(&server::url()).await;
        let (schema, stop, began) = (database.live.clone(), stop.clone(), began.clone());
        readers.push(tokio::spawn(read(client, schema, stop, began, kind)));
    }
    // All of them look before the first swap.
    let all = u64::try_from(readers.len()).unwrap();
    while began.load(Ordering::Relaxed) < all {
        assert!(readers.iter().all(|reader| !reader.is_finished()));
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    for swap in 0..SWAPS {
        let script = if swap % 2 == 0 { views() } else { tables() };
        let outcome = database.rebuild(script).await.unwrap();
        assert_eq!(outcome, RebuildOutcome::Swapped);
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_gives_way_to_a_transaction_that_goes_on() {
    let database = Database::with_events(EVENTS).await;
    database.project(tables()).await.unwrap();
    let mut client = connect(&server::url()).await;
    let reading = client.transaction().await.unwrap();
    let sql = look(&format!("{}.", database.live));
    let first = reading.query_one(&sql, &[]).await.unwrap();
    let rebuilt = Arc::new(AtomicU64::new(0));
    let rebuilding = {
        let (store, rebuilt) = (database.store.clone(), rebuilt.clone());
        tokio::spawn(async move {
            let runner = ProjectionRunner::new(store, views());
            let outcome = runner.start_rebuild().join().await.unwrap();
            rebuilt.fetch_add(1, Ordering::Relaxed);
            outcome
        })
    };
    // It waits for the lock, which gives up, and is tried again.
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $lock$%:live%' AND wait_event_type = 'Lock'";
    for _ in 0..2 {
        while database.number(waiting).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        while database.number(waiting).await > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    // The transaction is not the one that has to give up, and nothing has changed for it.
    let second = reading.query_one(&sql, &[]).await.unwrap();
    assert_eq!(first.get::<_, i64>(0), second.get::<_, i64>(0));
    assert_eq!(rebuilt.load(Ordering::Relaxed), 0);
    reading.commit().await.unwrap();
    assert_eq!(rebuilding.await.unwrap(), RebuildOutcome::Swapped);
    let after = client.query_one(&sql, &[]).await.unwrap();
    assert_eq!(after.get::<_, i64>(0), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_waits_for_a_lock_can_be_stopped() {
    let database = Database::with_events(EVENTS).await;
    database.project(tables()).await.unwrap();
    let before = database.dump().await;
    let mut client = connect(&server::url()).await;
    let reading = client.transaction().await.unwrap();
    let sql = look(&format!("{}.", database.live));
    reading.query_one(&sql, &[]).await.unwrap();
    let runner = ProjectionRunner::new(database.store.clone(), views());
    let rebuild = runner.clone().start_rebuild();
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO $lock$%:live%' AND wait_event_type = 'Lock'";
    while database.number(waiting).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(rebuild.stop().await.unwrap(), RebuildOutcome::Interrupted);
    reading.commit().await.unwrap();
    super::objects::similar_asserts(&database.dump().await, &before);
    let resumed = runner.resume_rebuild().join().await.unwrap();
    assert_eq!(resumed, RebuildOutcome::Swapped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_statements_of_a_projection_follow_its_new_tables() {
    // The connections of the pool have prepared them for the old tables, whose columns have other types.
    let database = Database::with_events(EVENTS).await;
    for (round, column) in ["bigint", "integer", "text", "bigint"]
        .into_iter()
        .enumerate()
    {
        let runner = ProjectionRunner::new(database.store.clone(), Typed(column));
        let outcome = runner.start_rebuild().join().await.unwrap();
        assert_eq!(outcome, RebuildOutcome::Swapped);
        crate::projection::add(&database.store, 1, 3).await;
        database.project(Typed(column)).await.unwrap();
        let events = EVENTS + 3 * (u64::try_from(round).unwrap() + 1);
        let rows = database.number("SELECT count(*) FROM :live.facts").await;
        assert_eq!(rows.unsigned_abs(), events);
    }
}

/// One text of a statement, for columns of several types.
struct Typed(&'static str);

impl Projection<PostgresTransaction> for Typed {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "model";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS facts (position {} PRIMARY KEY)",
            self.0
        );
        tx.execute_batch(&create).await
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        event: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        let sql = "INSERT INTO facts VALUES ($1)";
        let position = event.position.get().cast_signed();
        match self.0 {
            "bigint" => tx.queue(sql, &[&position]).await,
            "integer" => tx.queue(sql, &[&i32::try_from(position).unwrap()]).await,
            _ => tx.queue(sql, &[&position.to_string()]).await,
        }
    }
}
