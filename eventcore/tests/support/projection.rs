//! A projection that is easy to check, on each database: sums of tallies, and each event that was applied.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    error::Error,
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use eventcore::{
    Command, CommandLogic, Event, EventFilter, EventStore, Position, RecordedEvent, RetryPolicy,
    StreamKey, execute,
    postgres::{PostgresConfig, PostgresEventStore, PostgresTransaction, tokio_postgres},
    projection::{Leadership, Progress, Projection, ProjectionDatabase, ReadModel},
    sqlite::{SqliteEventStore, SqliteTransaction, rusqlite},
    store::ReadFeedRequest,
};
use serde::{Deserialize, Serialize};

pub type BoxError = Box<dyn Error + Send + Sync>;
/// Of each tally its sum and the number of events.
pub type Rows = BTreeMap<String, (i64, i64)>;

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
pub enum TallyEvent {
    Added { amount: u64 },
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "tally", event = TallyEvent)]
pub struct TallyId(pub u64);

#[derive(Command)]
struct Add {
    #[stream]
    tally: TallyId,
    events: u64,
}

impl CommandLogic for Add {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: AddEvent<'_>) {}

    fn handle(&self, (): &(), streams: AddStreams<'_>) -> Result<(), Infallible> {
        for amount in 0..self.events {
            streams.tally.append(TallyEvent::Added { amount });
        }
        Ok(())
    }
}

/// Appends so many events to a tally; the position of the last.
pub async fn add(store: &impl EventStore, tally: u64, events: u64) -> Position {
    let tally = TallyId(tally);
    let policy = RetryPolicy::new().deadline(Duration::from_mins(10));
    execute(store, Add { tally, events }, policy)
        .await
        .unwrap()
        .position()
}

/// Returns the expected read model: the fold of the log without some positions.
pub async fn expected(store: &impl EventStore, without: &HashSet<u64>) -> Rows {
    let mut rows = Rows::new();
    let mut after = Position::START;
    loop {
        let filter = EventFilter::All;
        let request = ReadFeedRequest {
            after,
            filter,
            limit: 1000,
        };
        let page = store.read_feed(request).await.unwrap();
        if page.scanned_to == after {
            return rows;
        }
        after = page.scanned_to;
        for event in page.events {
            if without.contains(&event.position.get()) {
                continue;
            }
            let (TallyId(tally), TallyEvent::Added { amount }) = event.keyed().unwrap();
            let row = rows.entry(tally.to_string()).or_default();
            row.0 += i64::try_from(amount).unwrap();
            row.1 += 1;
        }
    }
}

/// The writes of the projection on each database. A position that is applied twice is an error.
pub trait Write: Send + 'static {
    fn create(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;
    fn add(
        &mut self,
        tally: &str,
        amount: i64,
        position: u64,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS sums (tally TEXT PRIMARY KEY, total BIGINT NOT NULL, events BIGINT NOT NULL);
     CREATE INDEX IF NOT EXISTS sums_by_total ON sums (total);
     CREATE TABLE IF NOT EXISTS applied (position BIGINT PRIMARY KEY);";

impl Write for SqliteTransaction {
    async fn create(&mut self) -> Result<(), BoxError> {
        Ok(self.execute_batch(CREATE)?)
    }

    async fn add(&mut self, tally: &str, amount: i64, position: u64) -> Result<(), BoxError> {
        self.execute("INSERT INTO applied VALUES (?1)", [position])?;
        self.execute(
            "INSERT INTO sums VALUES (?1, ?2, 1) ON CONFLICT DO UPDATE SET total = total + ?2, events = events + 1",
            (tally, amount),
        )?;
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
pub struct Sums {
    /// Events at these positions cannot be applied.
    pub refused: Arc<Mutex<HashSet<u64>>>,
    /// The calls of `apply`.
    pub applied: Arc<Mutex<Vec<u64>>>,
    /// An event that cannot be applied panics instead of returning an error.
    pub panics: bool,
    pub delay: Duration,
}

impl Sums {
    async fn write<Tx: Write>(
        &self,
        (TallyId(tally), TallyEvent::Added { amount }): (TallyId, TallyEvent),
        position: u64,
        tx: &mut Tx,
    ) -> Result<(), BoxError> {
        self.applied.lock().unwrap().push(position);
        tx.add(&tally.to_string(), i64::try_from(amount)?, position)
            .await?;
        let is_refused = self.refused.lock().unwrap().contains(&position);
        assert!(!(is_refused && self.panics), "panic at position {position}");
        if is_refused {
            // After the write, which must not stay.
            return Err(format!("position {position} is refused").into());
        }
        Ok(())
    }
}

impl<Tx: Write> Projection<Tx> for Sums {
    type Feed = (TallyId, TallyEvent);
    type Error = BoxError;
    const NAME: &'static str = "sums";

    async fn prepare(&self, tx: &mut Tx) -> Result<(), BoxError> {
        tx.create().await
    }

    async fn apply(
        &self,
        event: Self::Feed,
        recorded: &RecordedEvent,
        tx: &mut Tx,
    ) -> Result<(), BoxError> {
        self.write(event, recorded.position.get(), tx).await
    }
}

/// Takes its time before it writes nothing.
pub struct Slow(pub Sums);

impl<Tx: Write> Projection<Tx> for Slow {
    type Feed = (TallyId, TallyEvent);
    type Error = BoxError;
    const NAME: &'static str = "slow";

    async fn apply(&self, _: Self::Feed, _: &RecordedEvent, _: &mut Tx) -> Result<(), BoxError> {
        tokio::time::sleep(self.0.delay).await;
        Ok(())
    }
}

/// A database that the tests run on.
pub trait Db: Clone + Send + Sync + 'static {
    type Store: EventStore + ProjectionDatabase<Transaction: Write>;

    fn fresh() -> impl Future<Output = Self> + Send;
    fn open(location: &str) -> impl Future<Output = Self> + Send;
    fn location(&self) -> String;
    fn store(&self) -> &Self::Store;
    /// The rows of the read model, read as by a stranger.
    fn sums(&self) -> impl Future<Output = Rows> + Send;
    /// Changes the live read model, as a stranger.
    fn run(&self, sql: &str) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
pub struct Sqlite {
    store: SqliteEventStore,
    path: PathBuf,
}

impl Db for Sqlite {
    type Store = SqliteEventStore;

    async fn fresh() -> Self {
        let path = tempfile::tempdir().unwrap().keep().join("store.db");
        Self::open(&path.display().to_string()).await
    }

    async fn open(location: &str) -> Self {
        let path = Path::new(location).to_owned();
        let store = SqliteEventStore::open(&path).await.unwrap();
        Self { store, path }
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn store(&self) -> &SqliteEventStore {
        &self.store
    }

    async fn sums(&self) -> Rows {
        let connection = rusqlite::Connection::open(self.store.read_model("sums")).unwrap();
        connection.busy_timeout(Duration::from_mins(10)).unwrap();
        let mut sums = connection
            .prepare("SELECT tally, total, events FROM sums")
            .unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
        sums.query_map([], row)
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    async fn run(&self, sql: &str) {
        let path = self.store.read_model("sums");
        if !path.exists() {
            // The file is made by who leads first.
            let live = self.store.live("sums");
            let led = live.lead("test", Duration::from_mins(1)).await.unwrap();
            let Leadership::Taken(lease) = led else {
                panic!("nobody else leads")
            };
            live.resign(&lease).await.unwrap();
        }
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.busy_timeout(Duration::from_mins(10)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

impl Write for PostgresTransaction {
    async fn create(&mut self) -> Result<(), BoxError> {
        Ok(self.execute_batch(CREATE).await?)
    }

    async fn add(&mut self, tally: &str, amount: i64, position: u64) -> Result<(), BoxError> {
        let position = i64::try_from(position)?;
        self.queue("INSERT INTO applied VALUES ($1)", &[&position])
            .await?;
        self.queue(
            "INSERT INTO sums VALUES ($1, $2, 1)
             ON CONFLICT (tally) DO UPDATE SET total = sums.total + $2, events = sums.events + 1",
            &[&tally, &amount],
        )
        .await?;
        Ok(())
    }
}

#[derive(Clone)]
pub struct Postgres {
    store: PostgresEventStore,
    schema: String,
}

impl Postgres {
    async fn client(&self) -> tokio_postgres::Client {
        let url = crate::server::url();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Db for Postgres {
    type Store = PostgresEventStore;

    async fn fresh() -> Self {
        Self::open(&format!("test_{}", uuid::Uuid::now_v7().simple())).await
    }

    async fn open(schema: &str) -> Self {
        let url = crate::server::url();
        let config = PostgresConfig::new(&url).unwrap().schema(schema).unwrap();
        let store = config.connect().await.unwrap();
        let schema = schema.to_owned();
        Self { store, schema }
    }

    fn location(&self) -> String {
        self.schema.clone()
    }

    fn store(&self) -> &PostgresEventStore {
        &self.store
    }

    async fn sums(&self) -> Rows {
        let sql = format!(
            "SELECT tally, total, events FROM {}.sums",
            self.store.read_model("sums")
        );
        let rows = self.client().await.query(&sql, &[]).await.unwrap();
        rows.iter()
            .map(|row| (row.get(0), (row.get(1), row.get(2))))
            .collect()
    }

    async fn run(&self, sql: &str) {
        let schema = self.store.read_model("sums");
        let sql = format!("SET search_path = {schema}; {sql}");
        let client = self.client().await;
        let exists = "SELECT to_regnamespace($1) IS NOT NULL";
        if !client
            .query_one(exists, &[&schema])
            .await
            .unwrap()
            .get::<_, bool>(0)
        {
            make_schema(&self.store).await;
        }
        client.batch_execute(&sql).await.unwrap();
    }
}

/// The first transaction that is used makes the schema of a read model.
async fn make_schema(store: &PostgresEventStore) {
    let live = store.live("sums");
    let term = Duration::from_mins(1);
    let Leadership::Taken(lease) = live.lead("test", term).await.unwrap() else {
        panic!("nobody else leads")
    };
    let mut tx = live.begin(&lease).await.unwrap();
    tx.execute("SELECT 1", &[]).await.unwrap();
    let progress = Progress {
        position: Position::START,
        term,
        park: None,
        replayed: None,
    };
    live.commit(tx, &lease, progress).await.unwrap();
    live.resign(&lease).await.unwrap();
}
