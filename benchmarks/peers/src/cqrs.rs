//! The bank on cqrs-es. Its commands write one aggregate, so there are no transfers.

use std::{convert::Infallible, str::FromStr};

use cqrs_es::{
    Aggregate, AggregateContext, CqrsFramework, DomainEvent, EventStore,
    event_sink::EventSink,
    persist::{PersistedEventRepository, PersistedEventStore},
};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlite_es::SqliteEventRepository;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use workload::{Accounts, Failure};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AccountEvent {
    Deposited { amount: u64 },
}

impl DomainEvent for AccountEvent {
    fn event_type(&self) -> String {
        "Deposited".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

#[derive(Default, Serialize, Deserialize)]
pub struct Account {
    balance: i64,
    events: u64,
}

pub struct Deposit {
    times: u32,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = Deposit;
    type Event = AccountEvent;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, command: Deposit, (): &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        for _ in 0..command.times {
            sink.write(AccountEvent::Deposited { amount: 1 }, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, AccountEvent::Deposited { amount }: AccountEvent) {
        self.balance += amount as i64;
        self.events += 1;
    }
}

type Store<R> = PersistedEventStore<R, Account>;

pub struct Bank<R: PersistedEventRepository + Send + Sync> {
    framework: CqrsFramework<Account, Store<R>>,
    reader: Store<R>,
}

impl<R: PersistedEventRepository + Send + Sync + 'static> Bank<R> {
    fn new(repository: impl Fn() -> R) -> Self {
        Self {
            framework: CqrsFramework::new(Store::new_event_store(repository()), vec![], ()),
            reader: Store::new_event_store(repository()),
        }
    }
}

pub async fn sqlite(path: &str) -> Result<Bank<SqliteEventRepository>, Failure> {
    // Its own helper chooses `synchronous=NORMAL`, which is not durable in WAL mode.
    let options = SqliteConnectOptions::from_str(&format!("sqlite://{path}"))?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(10).connect_with(options).await?;
    sqlx::raw_sql(
        "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL,
             sequence integer CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL,
             payload text NOT NULL, metadata text NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence)) STRICT",
    )
    .execute(&pool)
    .await?;
    Ok(Bank::new(|| SqliteEventRepository::new(pool.clone())))
}

pub async fn postgres(url: &str) -> Result<Bank<PostgresEventRepository>, Failure> {
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(url).await?;
    sqlx::raw_sql(
        "CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL,
             sequence bigint CHECK (sequence >= 0) NOT NULL, event_type text NOT NULL, event_version text NOT NULL,
             payload json NOT NULL, metadata json NOT NULL, PRIMARY KEY (aggregate_type, aggregate_id, sequence))",
    )
    .execute(&pool)
    .await?;
    Ok(Bank::new(|| PostgresEventRepository::new(pool.clone())))
}

impl<R: PersistedEventRepository + Send + Sync + 'static> Accounts for Bank<R> {
    const TRANSFERS: bool = false;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        Ok(self.framework.execute(&account.to_string(), Deposit { times }).await?)
    }

    async fn transfer(&self, _: u32, _: u32) -> Result<(), Failure> {
        Err("a command writes one aggregate".into())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let mut context = self.reader.load_aggregate(&account.to_string()).await?;
        let account = context.aggregate();
        Ok((account.balance, account.events))
    }
}
