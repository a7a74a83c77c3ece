//! The read model of the accounts: the projection that maintains its table, and a reader.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use eventcore::{
    Position, RecordedEvent,
    projection::{Projection, wait_for},
    sqlite::{SqliteEventStore, SqliteTransaction, rusqlite},
};
use rusqlite::{Connection, OpenFlags, Row, params};
use serde::Serialize;

use crate::{
    domain::{AccountEvent, AccountId},
    problem::Problem,
};

/// The longest time that a reader waits for the read model to catch up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maintains the table `account_view`, in the transaction that also advances its checkpoint.
pub struct Accounts;

impl Projection<SqliteTransaction> for Accounts {
    type Feed = (AccountId, AccountEvent);
    type Error = rusqlite::Error;
    const NAME: &'static str = "accounts";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> Result<(), rusqlite::Error> {
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS account_view (
                 account TEXT PRIMARY KEY, owner TEXT NOT NULL, balance INTEGER NOT NULL
             ) STRICT, WITHOUT ROWID",
        )
    }

    async fn apply(
        &self,
        (AccountId(account), event): (AccountId, AccountEvent),
        _: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> Result<(), rusqlite::Error> {
        let change = "UPDATE account_view SET balance = balance + ?2 WHERE account = ?1";
        match event {
            AccountEvent::Opened { owner } => tx.execute(
                "INSERT INTO account_view (account, owner, balance) VALUES (?1, ?2, 0)",
                params![account, owner],
            )?,
            AccountEvent::Deposited { amount } => tx.execute(change, params![account, amount])?,
            AccountEvent::Withdrawn { amount } => {
                let amount = -i128::from(amount);
                tx.execute(
                    change,
                    params![account, i64::try_from(amount).unwrap_or(i64::MIN)],
                )?
            }
        };
        Ok(())
    }
}

/// A row of the table.
#[derive(Debug, Serialize)]
pub struct AccountView {
    pub account: String,
    pub owner: String,
    pub balance: u64,
}

impl AccountView {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            account: row.get(0)?,
            owner: row.get(1)?,
            balance: row.get(2)?,
        })
    }
}

const NAME: &str = <Accounts as Projection<SqliteTransaction>>::NAME;

/// Reads the table. It is in a database file of its own, which any connection may open for reading.
pub struct Reader {
    store: SqliteEventStore,
    database: PathBuf,
}

impl Reader {
    pub fn new(store: SqliteEventStore) -> Self {
        let database = store.read_model(NAME);
        Self { store, database }
    }

    /// Returns all accounts, as of this position or later.
    pub async fn all(&self, position: Position) -> Result<Vec<AccountView>, Problem> {
        self.read(position, |connection| {
            let sql = "SELECT account, owner, balance FROM account_view ORDER BY account";
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], AccountView::from_row)?;
            rows.collect()
        })
        .await
    }

    async fn read<T: Send + 'static>(
        &self,
        position: Position,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Problem> {
        wait_for(&self.store, NAME, position, PATIENCE).await?;
        let database = self.database.clone();
        let rows = tokio::task::spawn_blocking(move || query(&open(&database)?));
        rows.await
            .map_err(Problem::internal)?
            .map_err(Problem::internal)
    }
}

/// Opens the read model. In a new store, waits until the projection has created the table.
fn open(database: &Path) -> rusqlite::Result<Connection> {
    let end = Instant::now() + PATIENCE;
    loop {
        let opened = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let is_there = |connection: &Connection| connection.table_exists(None, "account_view");
        let is_prepared = opened
            .as_ref()
            .is_ok_and(|it| is_there(it).unwrap_or(false));
        if is_prepared || Instant::now() >= end {
            return opened;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
