//! The bank on a bare driver: each command is one transaction that reads the events, inserts, and commits durably.

use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tokio_postgres::{Client, NoTls, Statement};
use workload::{Accounts, Failure};

pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub fn open(path: &str) -> Result<Self, Failure> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE events (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, version INTEGER NOT NULL,
                 amount INTEGER NOT NULL, payload TEXT NOT NULL, UNIQUE (stream, version)) STRICT;",
        )?;
        Ok(Self(Mutex::new(connection)))
    }

    fn command(&self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>) -> Result<(), Failure> {
        tokio::task::block_in_place(|| {
            let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&transaction)?;
            Ok(transaction.commit()?)
        })
    }
}

/// Returns the account's balance and version, from its events.
fn load(connection: &Connection, account: u32) -> rusqlite::Result<(i64, u64)> {
    let mut statement =
        connection.prepare_cached("SELECT amount, payload FROM events WHERE stream = ?1 ORDER BY version")?;
    let mut rows = statement.query([format!("account-{account}")])?;
    let (mut balance, mut version) = (0, 0);
    while let Some(row) = rows.next()? {
        balance += row.get::<_, i64>(0)?;
        version += 1;
    }
    Ok((balance, version))
}

fn insert(connection: &Connection, account: u32, version: u64, amount: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO events (stream, version, amount, payload) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![format!("account-{account}"), version as i64, amount, "{\"amount\":1}"])?;
    Ok(())
}

impl Accounts for Sqlite {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        self.command(|transaction| {
            let (_, version) = load(transaction, account)?;
            (0..u64::from(times)).try_for_each(|number| insert(transaction, account, version + number + 1, 1))
        })
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        self.command(|transaction| {
            let ((_, from_version), (_, to_version)) = (load(transaction, from)?, load(transaction, to)?);
            insert(transaction, from, from_version + 1, -1)?;
            insert(transaction, to, to_version + 1, 1)
        })
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(load(&connection, account)?)
    }
}

/// A connection for each client, four round trips a command: BEGIN, read, insert, COMMIT. The second
/// insert of a version fails on the unique index.
pub struct Postgres {
    url: String,
    idle: Mutex<Vec<Prepared>>,
}

struct Prepared {
    client: Client,
    load: Statement,
    insert: Statement,
}

const LOAD: &str = "SELECT stream, count(*), coalesce(sum(amount), 0)::bigint FROM events WHERE stream = ANY($1) GROUP BY stream";
const INSERT: &str = "INSERT INTO events (stream, version, amount, payload)
    SELECT stream, version, amount, '{\"amount\":1}' FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS new (stream, version, amount)";

fn stream(account: u32) -> String {
    format!("account-{account}")
}

impl Postgres {
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(
                "CREATE TABLE events (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text NOT NULL,
                     version bigint NOT NULL, amount bigint NOT NULL, payload text NOT NULL, UNIQUE (stream, version))",
            )
            .await?;
        Ok(Self { url: url.to_owned(), idle: Mutex::default() })
    }

    async fn with<T>(&self, work: impl AsyncFnOnce(&mut Prepared) -> Result<T, tokio_postgres::Error>) -> Result<T, Failure> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut prepared = match idle {
            Some(prepared) => prepared,
            None => {
                let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await?;
                tokio::spawn(connection);
                let (load, insert) = (client.prepare(LOAD).await?, client.prepare(INSERT).await?);
                Prepared { client, load, insert }
            }
        };
        let done = work(&mut prepared).await;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(prepared);
        Ok(done?)
    }

    /// Appends `times` events for each account and amount.
    async fn command(&self, changes: &[(u32, i64)], times: u32) -> Result<(), Failure> {
        self.with(async |Prepared { client, load, insert }| {
            let transaction = client.transaction().await?;
            let streams: Vec<String> = changes.iter().map(|(account, _)| stream(*account)).collect();
            let rows = transaction.query(load, &[&streams]).await?;
            let (mut names, mut versions, mut amounts) = (vec![], vec![], vec![]);
            for (name, (_, amount)) in streams.iter().zip(changes) {
                let found = rows.iter().find(|row| row.get::<_, &str>(0) == name);
                let version = found.map_or(0, |row| row.get::<_, i64>(1));
                for number in 1..=i64::from(times) {
                    names.push(name.as_str());
                    versions.push(version + number);
                    amounts.push(*amount);
                }
            }
            transaction.execute(insert, &[&names, &versions, &amounts]).await?;
            transaction.commit().await
        })
        .await
    }
}

impl Accounts for Postgres {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        self.command(&[(account, 1)], times).await
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        self.command(&[(from, -1), (to, 1)], 1).await
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let found = self.with(async |Prepared { client, load, .. }| client.query_opt(load, &[&vec![stream(account)]]).await);
        Ok(found.await?.map_or((0, 0), |row| (row.get(2), row.get::<_, i64>(1) as u64)))
    }
}
