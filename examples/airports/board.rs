//! Statistics of each airport, kept while the flights run: a read model in the database that holds the events.

use std::{error::Error, time::Duration};

use eventcore::{
    EventStore, EventStoreError, Position, RecordedEvent,
    postgres::{
        PostgresTransaction,
        tokio_postgres::{self, NoTls},
    },
    projection::{Projection, ProjectionDatabase, ProjectionHandle, ProjectionRunner},
    sqlite::{SqliteTransaction, rusqlite},
};

use crate::{
    database::Database,
    domain::{AirportEvent, AirportId},
};

/// How long the board may lag behind the last flight.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long a run that was killed holds up the next one.
const LEASE: Duration = Duration::from_secs(2);

const TABLE: &str = "CREATE TABLE IF NOT EXISTS airport_board (airport TEXT PRIMARY KEY, departures BIGINT NOT NULL,
    arrivals BIGINT NOT NULL, delay_minutes BIGINT NOT NULL)";
const CHANGE: &str = "INSERT INTO airport_board (airport, departures, arrivals, delay_minutes) VALUES ($1, $2, $3, $4)
    ON CONFLICT (airport) DO UPDATE SET departures = airport_board.departures + excluded.departures,
        arrivals = airport_board.arrivals + excluded.arrivals,
        delay_minutes = airport_board.delay_minutes + excluded.delay_minutes";
const TOP: &str = "SELECT airport, departures, arrivals,
        coalesce(CAST(delay_minutes AS DOUBLE PRECISION) / nullif(arrivals, 0), 0)
    FROM airport_board ORDER BY departures + arrivals DESC, airport LIMIT 10";

/// The projection: the same rows in SQLite and in PostgreSQL.
pub struct Board;

/// What an event changes: departures, arrivals, minutes of delay.
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
        tx.execute_batch(TABLE)
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
        tx.execute_batch(TABLE).await
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

/// Keeps the board from now on.
pub fn start<S>(store: &S) -> ProjectionHandle<S, S>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    ProjectionRunner::new(store.clone(), Board)
        .lease(LEASE)
        .start()
}

/// Prints the busiest airports, as soon as the board shows everything up to `position`.
pub async fn print<S>(
    board: &ProjectionHandle<S, S>,
    position: Position,
    database: &Database,
) -> Result<(), Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
{
    board.wait_for(position, PATIENCE).await?;
    println!("\nairport  departures  arrivals  mean delay");
    for (airport, departures, arrivals, delay) in rows(database).await? {
        println!("{airport:<7} {departures:>11} {arrivals:>9} {delay:>7.1} min");
    }
    println!();
    Ok(())
}

type Row = (String, i64, i64, f64);

/// The table is a table like any other, and read like one.
async fn rows(database: &Database) -> Result<Vec<Row>, Box<dyn Error>> {
    match database {
        Database::File(path) => {
            let connection = rusqlite::Connection::open(path)?;
            let mut top = connection.prepare(TOP)?;
            let read =
                |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
            let rows = top.query_map([], read)?;
            Ok(rows.collect::<Result<_, _>>()?)
        }
        Database::Postgres(url) => {
            let (client, connection) = tokio_postgres::connect(&plain(url), NoTls).await?;
            tokio::spawn(connection);
            let rows = client.query(TOP, &[]).await?;
            Ok(rows
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
                .collect())
        }
    }
}

/// The URL without the parameter that only the store knows.
fn plain(url: &str) -> String {
    let (server, parameters) = url.split_once('?').unwrap_or((url, ""));
    let known = parameters
        .split('&')
        .filter(|parameter| !parameter.starts_with("schema="));
    format!("{server}?{}", known.collect::<Vec<_>>().join("&"))
}
