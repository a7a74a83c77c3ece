//! Statistics of each airport, updated during the replay: a read model in the database of the events.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use eventcore::{
    EventStore, EventStoreError, Position, RecordedEvent,
    postgres::{
        PostgresConfig, PostgresTransaction,
        tokio_postgres::{self, NoTls},
    },
    projection::{
        Projection, ProjectionDatabase, ProjectionError, ProjectionHandle, ProjectionRunner,
        RebuildOutcome,
    },
    sqlite::{SqliteTransaction, rusqlite},
};

use crate::{
    database::Database,
    domain::{AirportEvent, AirportId},
    progress::Bar,
};

/// The longest time that the board may lag behind the last flight.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest time that the next run waits for the lease of a killed one.
const LEASE: Duration = Duration::from_secs(2);

/// The time between updates of the progress.
const SHOWN: Duration = Duration::from_millis(100);

/// The number of airports that are printed.
const TOP: usize = 10;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS airport_board (airport TEXT PRIMARY KEY, departures BIGINT NOT NULL,
     arrivals BIGINT NOT NULL, delay_minutes BIGINT NOT NULL)";
const CHANGE: &str = "INSERT INTO airport_board AS board (airport, departures, arrivals, delay_minutes)
     VALUES ($1, $2, $3, $4)
     ON CONFLICT (airport) DO UPDATE SET departures = board.departures + excluded.departures,
         arrivals = board.arrivals + excluded.arrivals, delay_minutes = board.delay_minutes + excluded.delay_minutes";

/// The projection: the same statements for SQLite and for PostgreSQL.
pub struct Board {
    database: Database,
}

impl Board {
    pub fn new(database: &Database) -> Self {
        let database = database.clone();
        Self { database }
    }
}

/// The change of an event: departures, arrivals, minutes of delay.
fn change(event: &AirportEvent) -> (i64, i64, i64) {
    match event {
        AirportEvent::Departed { .. } => (1, 0, 0),
        AirportEvent::Arrived { delay_minutes, .. } => (0, 1, i64::from(*delay_minutes)),
    }
}

impl Projection<SqliteTransaction> for Board {
    type Feed = (AirportId, AirportEvent);
    type Error = rusqlite::Error;
    const NAME: &'static str = "airport_board";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> Result<(), rusqlite::Error> {
        tx.execute_batch(CREATE)
    }

    async fn apply(
        &self,
        (AirportId(airport), event): (AirportId, AirportEvent),
        _: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> Result<(), rusqlite::Error> {
        let (departures, arrivals, delay) = change(&event);
        tx.execute(CHANGE, (airport, departures, arrivals, delay))?;
        Ok(())
    }
}

impl Projection<PostgresTransaction> for Board {
    type Feed = (AirportId, AirportEvent);
    type Error = EventStoreError;
    const NAME: &'static str = "airport_board";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        tx.execute_batch(CREATE).await
    }

    async fn apply(
        &self,
        (AirportId(airport), event): (AirportId, AirportEvent),
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        let (departures, arrivals, delay) = change(&event);
        tx.queue(CHANGE, &[&airport, &departures, &arrivals, &delay])
            .await
    }
}

/// A board with a running projection.
pub struct Kept<S> {
    board: Board,
    handle: ProjectionHandle<S, S>,
}

pub fn start<S>(store: &S, database: &Database) -> Kept<S>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    let handle = ProjectionRunner::new(store.clone(), Board::new(database))
        .lease(LEASE)
        .start();
    let board = Board::new(database);
    Kept { board, handle }
}

/// Rebuilds the board beside the live one, which it then replaces. Resumes an interrupted rebuild.
pub async fn rebuild<S>(
    store: &S,
    database: &Database,
    stop: &AtomicBool,
) -> Result<RebuildOutcome, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    let runner = ProjectionRunner::new(store.clone(), Board::new(database)).lease(LEASE);
    let mut rebuild = runner.resume_rebuild();
    let mut bar = Bar::new();
    while !rebuild.is_finished() {
        if stop.load(Ordering::Relaxed) {
            return Ok(rebuild.stop().await?);
        }
        bar.show(&rebuild.progress().await?);
        tokio::time::sleep(SHOWN).await;
    }
    let outcome = rebuild.join().await?;
    bar.show(&rebuild.progress().await?);
    bar.finish();
    Ok(outcome)
}

impl<S: EventStore + ProjectionDatabase> Kept<S> {
    /// Returns the rows, busiest airports first, as soon as they include everything up to `position`.
    pub async fn rows(&self, position: Position) -> Result<Vec<Row>, Box<dyn Error>> {
        self.handle.wait_for(position, PATIENCE).await?;
        if position == Position::START {
            // Before the first event, the table may not exist.
            return Ok(Vec::new());
        }
        self.board.rows().await
    }

    pub async fn stop(self) -> Result<(), ProjectionError> {
        self.handle.stop().await
    }
}

/// One airport.
pub struct Row {
    pub airport: String,
    pub departures: i64,
    pub arrivals: i64,
    pub delay_minutes: i64,
}

/// Prints the busiest airports.
pub fn print(rows: &[Row]) {
    println!("\nairport  departures  arrivals  mean delay");
    for row in rows.iter().take(TOP) {
        #[allow(clippy::cast_precision_loss, reason = "a mean to be shown")]
        let delay = row.delay_minutes as f64 / row.arrivals.max(1) as f64;
        let Row {
            airport,
            departures,
            arrivals,
            ..
        } = row;
        println!("{airport:<7} {departures:>11} {arrivals:>9} {delay:>7.1} min");
    }
    println!();
}

impl Board {
    /// Reads the table as any other program would: from the read model's own file or schema.
    pub async fn rows(&self) -> Result<Vec<Row>, Box<dyn Error>> {
        let read = |table: &str| {
            format!(
                "SELECT airport, departures, arrivals, delay_minutes FROM {table}
                 ORDER BY departures + arrivals DESC, airport"
            )
        };
        match &self.database {
            Database::File(path) => {
                let mut file = path.as_os_str().to_owned();
                file.push(".airport_board.db");
                let connection = rusqlite::Connection::open(file)?;
                let mut statement = connection.prepare(&read("airport_board"))?;
                let rows = statement.query_map([], |row| {
                    Ok(Row {
                        airport: row.get(0)?,
                        departures: row.get(1)?,
                        arrivals: row.get(2)?,
                        delay_minutes: row.get(3)?,
                    })
                })?;
                Ok(rows.collect::<Result<_, _>>()?)
            }
            Database::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(&plain(url), NoTls).await?;
                tokio::spawn(connection);
                let table =
                    PostgresConfig::new(url)?.read_model("airport_board") + ".airport_board";
                let rows = client.query(&read(&table), &[]).await?;
                let row = |row: &tokio_postgres::Row| Row {
                    airport: row.get(0),
                    departures: row.get(1),
                    arrivals: row.get(2),
                    delay_minutes: row.get(3),
                };
                Ok(rows.iter().map(row).collect())
            }
        }
    }
}

/// Returns the URL without the parameters that only the store accepts.
fn plain(url: &str) -> String {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let known = parameters
        .split('&')
        .filter(|parameter| !parameter.starts_with("schema="));
    format!("{server}?{}", known.collect::<Vec<_>>().join("&"))
}
