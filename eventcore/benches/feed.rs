//! The cost of a feed: catching up into memory and into rows, against a bare query that decodes the same rows, in turns;
//! into rows of which the database refuses 1 in 100; a filter that matches 1 event in 1,000; how soon a subscriber sees
//! a commit; and the commands that get done beside a projection.
//!
//! On SQLite, and on PostgreSQL as well if `EVENTCORE_POSTGRES_URL` is set. `EVENTCORE_BENCH_EVENTS` sets the number of
//! events (1,000,000).
#![allow(missing_docs, clippy::cast_precision_loss)]

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    Command, CommandLogic, CommitId, Event, EventFilter, EventSelector, EventStore, Metadata,
    Position, RecordedEvent, RetryPolicy, StreamId, StreamKey, Version, execute,
    postgres::{PostgresConfig, PostgresEventStore, PostgresTransaction},
    projection::{
        ErrorPolicy, MemoryReadModel, MemoryTransaction, Projection, ProjectionDatabase,
        ProjectionRunner, subscribe,
    },
    sqlite::{SqliteEventStore, SqliteTransaction, rusqlite},
    store::{AppendRequest, ExpectedVersion, NewEvent},
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

const ACCOUNTS: u64 = 10_000;
const BATCH: usize = 10_000;

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64, note: String },
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

struct Balances;

impl Projection<MemoryTransaction<HashMap<u64, u64>>> for Balances {
    type Feed = (AccountId, AccountEvent);
    type Error = Infallible;
    const NAME: &'static str = "in_memory";

    async fn apply(
        &self,
        (AccountId(account), AccountEvent::Deposited { amount, .. }): Self::Feed,
        _: &RecordedEvent,
        balances: &mut MemoryTransaction<HashMap<u64, u64>>,
    ) -> Result<(), Infallible> {
        *balances.entry(account).or_default() += amount;
        Ok(())
    }
}

impl Projection<SqliteTransaction> for Balances {
    type Feed = (AccountId, AccountEvent);
    type Error = rusqlite::Error;
    const NAME: &'static str = "rows";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> rusqlite::Result<()> {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS balances (account INTEGER PRIMARY KEY, amount INTEGER NOT NULL)")
    }

    async fn apply(
        &self,
        (AccountId(account), AccountEvent::Deposited { amount, .. }): Self::Feed,
        _: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO balances VALUES (?1, ?2) ON CONFLICT DO UPDATE SET amount = amount + ?2";
        tx.execute(sql, (account, amount)).map(drop)
    }
}

impl Projection<PostgresTransaction> for Balances {
    type Feed = (AccountId, AccountEvent);
    type Error = eventcore::EventStoreError;
    const NAME: &'static str = "rows";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), Self::Error> {
        tx.execute_batch("CREATE TABLE IF NOT EXISTS balances (account BIGINT PRIMARY KEY, amount BIGINT NOT NULL)")
            .await
    }

    async fn apply(
        &self,
        (AccountId(account), AccountEvent::Deposited { amount, .. }): Self::Feed,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), Self::Error> {
        let sql = "INSERT INTO balances VALUES ($1, $2) ON CONFLICT (account) DO UPDATE SET amount = balances.amount + $2";
        let (account, amount) = (account.cast_signed(), amount.cast_signed());
        tx.queue(sql, &[&account, &amount]).await
    }
}

/// The database refuses the events of 1 account in 100.
struct Refused;

const REFUSED: &str = "CREATE TABLE IF NOT EXISTS taken (position BIGINT PRIMARY KEY, account BIGINT NOT NULL CHECK (account % 100 <> 7))";

impl Projection<SqliteTransaction> for Refused {
    type Feed = (AccountId, AccountEvent);
    type Error = rusqlite::Error;
    const NAME: &'static str = "refused";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> rusqlite::Result<()> {
        tx.execute_batch(REFUSED)
    }

    async fn apply(
        &self,
        (AccountId(account), _): Self::Feed,
        event: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO taken VALUES (?1, ?2)";
        tx.execute(sql, (event.position.get(), account)).map(drop)
    }
}

impl Projection<PostgresTransaction> for Refused {
    type Feed = (AccountId, AccountEvent);
    type Error = eventcore::EventStoreError;
    const NAME: &'static str = "refused";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), Self::Error> {
        tx.execute_batch(REFUSED).await
    }

    async fn apply(
        &self,
        (AccountId(account), _): Self::Feed,
        event: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), Self::Error> {
        let (position, account) = (event.position.get().cast_signed(), account.cast_signed());
        tx.queue("INSERT INTO taken VALUES ($1, $2)", &[&position, &account])
            .await
    }
}

/// Events in commits of many; every thousandth is of another category.
async fn fill(store: &impl EventStore, events: usize) {
    let mut versions = HashMap::<u64, u64>::new();
    for first in (0..events).step_by(BATCH) {
        let mut streams = HashMap::new();
        let mut expected = Vec::new();
        let batch = (first..(first + BATCH).min(events)).map(|number| {
            let number = number as u64;
            let is_rare = number % 1000 == 999;
            let account = if is_rare {
                u64::MAX
            } else {
                number * 7919 % ACCOUNTS
            };
            let stream = *streams.entry(account).or_insert_with(|| {
                let id = if is_rare {
                    "rare-1".to_owned()
                } else {
                    format!("account-{account}")
                };
                expected.push(ExpectedVersion {
                    stream: StreamId::new(id).expect("an id"),
                    version: Version::new(versions.get(&account).copied().unwrap_or(0)),
                    event_id: None,
                });
                expected.len() - 1
            });
            *versions.entry(account).or_default() += 1;
            NewEvent {
                stream,
                type_name: if is_rare { "Rare" } else { "AccountDeposited" },
                payload: format!(
                    "{{\"amount\":{},\"note\":\"deposit number {number} of the day\"}}",
                    number % 100
                )
                .into(),
            }
        });
        let batch: Vec<_> = batch.collect();
        let request = AppendRequest::new(
            CommitId::generate(),
            expected,
            batch,
            Metadata::default(),
            None,
        );
        store
            .append(request.expect("a commit"))
            .await
            .expect("room");
    }
}

async fn timed(work: impl Future<Output = ()>) -> Duration {
    let started = Instant::now();
    work.await;
    started.elapsed()
}

fn rate(events: usize, took: Duration) -> f64 {
    events as f64 / took.as_secs_f64()
}

/// Catch-up, the filter and live latency on one store.
async fn measure<S>(name: &str, store: S, events: usize, bare: impl AsyncFn() -> u64)
where
    S: EventStore + ProjectionDatabase,
    Balances: Projection<S::Transaction>,
    Refused: Projection<S::Transaction>,
{
    fill(&store, events).await;
    let head = Position::new(events as u64);
    let hour = Duration::from_hours(1);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        theirs.push(rate(
            events,
            timed(async { assert!(bare().await > 0) }).await,
        ));
        let model = MemoryReadModel::new();
        let catch_up = async {
            let running = ProjectionRunner::with_database(store.clone(), model, Balances).start();
            running.wait_for(head, hour).await.expect("it catches up");
            running.stop().await.expect("it runs");
        };
        ours.push(rate(events, timed(catch_up).await));
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let (ours, theirs) = (best(&ours), best(&theirs));
    println!("{name}: catch-up into memory            {ours:>10.0} events/s");
    println!(
        "{name}: bare query, the same decoding   {theirs:>10.0} events/s; ours is {:.0} % of it",
        100.0 * ours / theirs
    );

    let rows = events.min(200_000);
    let into_rows = timed(async {
        let running = ProjectionRunner::new(store.clone(), Balances).start();
        running
            .wait_for(Position::new(rows as u64), hour)
            .await
            .expect("it catches up");
        running.stop().await.expect("it runs");
    });
    println!(
        "{name}: catch-up into rows              {:>10.0} events/s",
        rate(rows, into_rows.await)
    );

    let some = events.min(20_000);
    let refused = timed(async {
        let running = ProjectionRunner::new(store.clone(), Refused)
            .on_error(ErrorPolicy::park())
            .start();
        running
            .wait_for(Position::new(some as u64), hour)
            .await
            .expect("it catches up");
        running.stop().await.expect("it runs");
    });
    println!(
        "{name}: into rows, 1 in 100 is parked   {:>10.0} events/s",
        rate(some, refused.await)
    );

    let rare = EventFilter::any_of([EventSelector::category("rare")]);
    let matches = events / 1000;
    let search = timed(async {
        let mut found = subscribe(&store, Position::START, rare);
        for _ in 0..matches {
            found.next().await.expect("an event").expect("a good one");
        }
    });
    let took = search.await;
    println!("{name}: 1 in 1,000, {matches} of {events}     {took:>10.2?}");

    live(name, &store, head).await;
}

/// The time from a commit until a live subscriber sees it.
async fn live(name: &str, store: &impl EventStore, head: Position) {
    let mut latencies = Vec::new();
    let mut live = subscribe(store, head, EventFilter::All);
    for version in 0..1000 {
        let expected = vec![ExpectedVersion {
            stream: StreamId::new("live-1").expect("an id"),
            version: Version::new(version),
            event_id: None,
        }];
        let event = NewEvent {
            stream: 0,
            type_name: "Live",
            payload: "1".to_owned().into(),
        };
        let request = AppendRequest::new(
            CommitId::generate(),
            expected,
            vec![event],
            Metadata::default(),
            None,
        );
        let committed = async {
            store
                .append(request.expect("a commit"))
                .await
                .expect("room");
            Instant::now()
        };
        let seen = async {
            live.next().await.expect("an event").expect("a good one");
            Instant::now()
        };
        let (committed, seen) = tokio::join!(committed, seen);
        latencies.push(seen.saturating_duration_since(committed));
    }
    latencies.sort_unstable();
    println!(
        "{name}: seen live after the commit      p50 {:.2?}, p99 {:.2?}",
        latencies[500], latencies[990]
    );
}

/// The rows of the store by a plain query, decoded as the projection's events.
fn bare_sqlite(path: &Path) -> u64 {
    let connection = rusqlite::Connection::open(path).expect("a file");
    let sql = "SELECT e.position, s.name, e.version, t.name, e.event_id, e.recorded_at, e.payload, e.metadata
               FROM events e JOIN streams s ON s.id = e.stream JOIN event_types t ON t.id = e.type ORDER BY e.position";
    let mut statement = connection.prepare(sql).expect("a statement");
    let mut rows = statement.query([]).expect("rows");
    let mut balances = HashMap::<u64, u64>::new();
    while let Some(row) = rows.next().expect("a row") {
        let stream: String = row.get(1).expect("a name");
        let name: String = row.get(3).expect("a name");
        let payload: String = row.get(6).expect("a payload");
        fold(&mut balances, &stream, &name, payload.as_bytes());
    }
    balances.values().sum()
}

fn fold(balances: &mut HashMap<u64, u64>, stream: &str, name: &str, payload: &[u8]) {
    let stream = StreamId::new(stream).expect("an id");
    if stream.category() == "account" {
        let AccountId(account) = AccountId::from_stream_id(&stream).expect("a key");
        let AccountEvent::Deposited { amount, .. } =
            AccountEvent::decode(name, payload).expect("an event");
        *balances.entry(account).or_default() += amount;
    }
}

async fn bare_postgres(url: &str, schema: &str) -> u64 {
    use eventcore::postgres::tokio_postgres;
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("a server");
    tokio::spawn(connection);
    let sql = format!(
        "SELECT e.position, s.name, e.version, t.name, e.event_id, e.recorded_at, e.payload::text, e.metadata
         FROM {schema}.events e JOIN {schema}.streams s ON s.id = e.stream JOIN {schema}.event_types t ON t.id = e.type
         WHERE e.position > $1 ORDER BY e.position LIMIT 1024"
    );
    let statement = client.prepare(&sql).await.expect("a statement");
    let (mut balances, mut after) = (HashMap::new(), 0_i64);
    loop {
        let rows = client.query(&statement, &[&after]).await.expect("rows");
        let Some(last) = rows.last() else {
            return balances.values().sum();
        };
        after = last.get(0);
        for row in &rows {
            let payload: &str = row.get(6);
            fold(&mut balances, row.get(1), row.get(3), payload.as_bytes());
        }
    }
}

/// One event for a stream of its own.
#[derive(Command)]
struct Open {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Open {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: OpenEvent<'_>) {}

    fn handle(&self, (): &(), streams: OpenStreams<'_>) -> Result<(), Infallible> {
        let note = String::new();
        streams
            .account
            .append(AccountEvent::Deposited { amount: 1, note });
        Ok(())
    }
}

/// Commands of four clients until `end` resolves: commands per second, and the longest.
async fn commands(
    store: &SqliteEventStore,
    first: u64,
    end: impl Future<Output = ()>,
) -> (f64, Duration) {
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (store, is_over) = (store.clone(), is_over.clone());
            tokio::spawn(async move {
                let (mut done, mut longest) = (0, Duration::ZERO);
                while !is_over.load(Ordering::Relaxed) {
                    let account = AccountId(first + client * 1_000_000 + done);
                    let started = Instant::now();
                    execute(&store, Open { account }, RetryPolicy::new())
                        .await
                        .expect("no conflict");
                    longest = longest.max(started.elapsed());
                    done += 1;
                }
                (done, longest)
            })
        })
        .collect();
    let started = Instant::now();
    end.await;
    let took = started.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let (mut done, mut longest) = (0, Duration::ZERO);
    for client in clients {
        let (of_client, its_longest) = client.await.expect("it runs");
        done += of_client;
        longest = longest.max(its_longest);
    }
    (done as f64 / took.as_secs_f64(), longest)
}

/// The rate of commands while a projection catches up into rows, against the same commands alone, alternating.
async fn beside(folder: &Path, events: usize) {
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let store = SqliteEventStore::open(folder.join(format!("beside-{round}.db")))
            .await
            .expect("a store");
        fill(&store, events).await;
        let first = 1 << 40;
        alone.push(commands(&store, first, tokio::time::sleep(Duration::from_secs(2))).await);
        let running = ProjectionRunner::new(store.clone(), Balances).start();
        let caught_up = async {
            running
                .wait_for(Position::new(events as u64), Duration::from_hours(1))
                .await
                .expect("it catches up");
        };
        beside.push(commands(&store, first << 1, caught_up).await);
        running.stop().await.expect("it runs");
    }
    for (what, mut measured) in [("alone", alone), ("while a projection catches up", beside)] {
        measured.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (rate, longest) = measured.get(1).copied().unwrap_or_default();
        println!(
            "SQLite: commands of 4 clients {what:<30} {rate:>8.0} /s, the longest {longest:.1?}"
        );
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let events = std::env::var("EVENTCORE_BENCH_EVENTS")
        .ok()
        .and_then(|number| number.parse().ok());
    let events = events.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().expect("a folder");
    beside(folder.path(), events.min(200_000)).await;
    let path = folder.path().join("feed.db");
    let store = SqliteEventStore::open(&path).await.expect("a store");
    measure("SQLite", store, events, async || bare_sqlite(&path)).await;
    let Ok(url) = std::env::var("EVENTCORE_POSTGRES_URL") else {
        return println!(
            "PostgreSQL: not measured; run `scripts/postgres cargo bench --bench feed`"
        );
    };
    let schema = format!("bench_{}", uuid::Uuid::now_v7().simple());
    let config = PostgresConfig::new(&url).and_then(|config| config.schema(schema.as_str()));
    let store = config.expect("a URL").connect().await.expect("a server");
    measure::<PostgresEventStore>("PostgreSQL", store, events, async || {
        bare_postgres(&url, &schema).await
    })
    .await;
}
