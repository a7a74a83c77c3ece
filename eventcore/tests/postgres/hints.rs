//! A commit in one process wakes waiters in another, by LISTEN and NOTIFY where available.
//!
//! Readers here look by themselves only every ten minutes where that is to show that they were told.

use std::time::{Duration, Instant};

use eventcore::{
    EventStore, EventStoreError, Position,
    postgres::{PostgresConfig, PostgresEventStore},
};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::{append::request, server};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_hours(24);
/// Longer than a busy machine takes to say something.
const PATIENCE: Duration = Duration::from_mins(10);
/// As long as a test waits for what must not happen.
const A_WHILE: Duration = Duration::from_secs(1);

/// A store that is another process to the others: it has connections of its own.
async fn store(config: &PostgresConfig) -> PostgresEventStore {
    config.connect().await.unwrap()
}

/// Appends one event to a stream of its own.
async fn commit(store: &PostgresEventStore) -> Position {
    let stream = format!("thing-{}", uuid::Uuid::now_v7());
    store
        .append(request(&stream, 0, "{}"))
        .await
        .unwrap()
        .position
}

/// Waits in a task of its own; whether somebody was woken says `timeout`.
fn wait(
    store: &PostgresEventStore,
    after: Position,
) -> tokio::task::JoinHandle<Result<(), EventStoreError>> {
    let store = store.clone();
    tokio::spawn(async move { store.wait_for_event(after).await })
}

/// Commits one event that the waiter of the reader does not notice. A waiter that has looked only after the commit, on a
/// busy machine, has seen it; then it is tried again. Returns the waiter, and the position that it waits after.
async fn unnoticed(
    reader: &PostgresEventStore,
    writer: &PostgresEventStore,
    mut after: Position,
) -> (
    tokio::task::JoinHandle<Result<(), EventStoreError>>,
    Position,
) {
    let began = Instant::now();
    loop {
        let mut waiter = wait(reader, after);
        let head = commit(writer).await;
        match timeout(A_WHILE, &mut waiter).await {
            Err(_) => return (waiter, after),
            Ok(woken) => woken.unwrap().unwrap(),
        }
        assert!(began.elapsed() < PATIENCE, "every commit is noticed");
        after = head;
    }
}

async fn woken(waiter: tokio::task::JoinHandle<Result<(), EventStoreError>>) {
    let woken = timeout(PATIENCE, waiter).await.expect("it is woken");
    woken.unwrap().unwrap();
}

/// The server's processes that listen for a schema.
struct Listeners(tokio_postgres::Client, String);

impl Listeners {
    async fn of(config: &PostgresConfig) -> Self {
        let (client, connection) = tokio_postgres::connect(&server::url(), NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        let schema = server::schema_of(config);
        Self(client, format!("LISTEN \"{schema}\""))
    }

    async fn count(&self) -> usize {
        let count = "SELECT 1 FROM pg_stat_activity WHERE query = $1";
        self.0.query(count, &[&self.1]).await.unwrap().len()
    }

    async fn kill(&self) {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = $1";
        assert!(!self.0.query(kill, &[&self.1]).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_commit_in_one_process_wakes_those_who_wait_in_another() {
    let config = server::config();
    let deaf_for_long = config
        .clone()
        .poll_interval(NEVER)
        .notified_poll_interval(NEVER);
    let (writer, reader) = (store(&config).await, store(&deaf_for_long).await);
    let mut head = Position::START;
    for _ in 0..20 {
        let waiter = wait(&reader, head);
        head = commit(&writer).await;
        woken(waiter).await;
    }
    // The last word of a process that ends.
    let waiter = wait(&reader, head);
    head = commit(&writer).await;
    writer.close().await;
    woken(waiter).await;
    // The control: nobody says anything.
    let silent = store(&config.clone().notifications(false)).await;
    let (waiter, head) = unnoticed(&reader, &silent, head).await;
    // It was there all the same, for who looks.
    woken(wait(&reader, head)).await;
    woken(waiter).await;
}

#[tokio::test]
async fn without_notifications_it_is_a_matter_of_looking() {
    let config = server::config();
    let writer = store(&config).await;
    let deaf = config.clone().notifications(false);
    let reader = store(&deaf).await;
    for _ in 0..5 {
        let head = commit(&writer).await;
        let waiter = wait(&reader, head);
        commit(&writer).await;
        woken(waiter).await;
    }
    assert_eq!(Listeners::of(&config).await.count().await, 0);
    let reader = store(&deaf.poll_interval(NEVER)).await;
    let head = commit(&writer).await;
    let mut waiter = wait(&reader, head);
    assert!(timeout(A_WHILE, &mut waiter).await.is_err());
    waiter.abort();
    let (waiter, _) = unnoticed(&reader, &writer, head).await;
    waiter.abort();
}

#[tokio::test]
async fn whose_listening_connection_is_killed_looks_often_until_it_has_another() {
    let config = server::config();
    let reader = store(&config.clone().notified_poll_interval(NEVER)).await;
    let writer = store(&config).await;
    let silent = store(&config.clone().notifications(false)).await;
    let listeners = Listeners::of(&config).await;
    for _ in 0..3 {
        let mut head = commit(&writer).await;
        // It listens as soon as a commit that nobody announces does not wake it; on a busy machine it may only be late.
        let began = Instant::now();
        let waiter = loop {
            let mut waiter = wait(&reader, head);
            head = commit(&silent).await;
            if timeout(A_WHILE, &mut waiter).await.is_err() && listeners.count().await == 1 {
                break waiter;
            }
            assert!(began.elapsed() < PATIENCE, "it never listens");
        };
        listeners.kill().await;
        woken(waiter).await;
    }
    // One that was told is told again.
    let waiter = wait(&reader, commit(&writer).await);
    commit(&writer).await;
    woken(waiter).await;
    // The connection ends with the store.
    reader.close().await;
    let began = Instant::now();
    while listeners.count().await > 0 {
        assert!(began.elapsed() < PATIENCE, "somebody still listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn who_waits_is_told_that_the_store_is_closed() {
    for notifications in [true, false] {
        let config = server::config()
            .notifications(notifications)
            .poll_interval(NEVER)
            .notified_poll_interval(NEVER);
        let store = store(&config).await;
        let waiters = [
            wait(&store, Position::START),
            wait(&store, commit(&store).await),
        ];
        let [first, second] = waiters;
        woken(first).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!second.is_finished());
        store.close().await;
        let closed = timeout(PATIENCE, second).await.expect("it is woken");
        assert!(matches!(closed.unwrap(), Err(EventStoreError::Closed)));
    }
}
