//! The bank on a bare driver: one transaction a command that reads the events, inserts, and commits durably.

use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
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

/// The account's balance and version, from its events.
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
