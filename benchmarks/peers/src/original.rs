//! The bank on eventcore 2.1, as its documentation shows.

use eventcore::{
    CommandError, CommandLogic, CommandStreams, Event, NewEvents, RetryPolicy, StreamDeclarations, StreamId, execute,
};
use eventcore_memory::InMemoryEventStore;
use eventcore_postgres::PostgresEventStore;
use eventcore_sqlite::{SqliteConfig, SqliteEventStore};
use eventcore_types::{EventStore, collect_events};
use serde::{Deserialize, Serialize};
use workload::{Accounts, Failure};

#[derive(Debug, Clone, Serialize, Deserialize)]
enum AccountEvent {
    Deposited { account: StreamId, amount: u64 },
    Withdrawn { account: StreamId, amount: u64 },
}

impl Event for AccountEvent {
    fn stream_id(&self) -> &StreamId {
        match self {
            Self::Deposited { account, .. } | Self::Withdrawn { account, .. } => account,
        }
    }

    fn event_type_name() -> &'static str {
        "AccountEvent"
    }
}

fn fold(balance: i64, event: &AccountEvent) -> i64 {
    match event {
        AccountEvent::Deposited { amount, .. } => balance + *amount as i64,
        AccountEvent::Withdrawn { amount, .. } => balance - *amount as i64,
    }
}

fn id(account: u32) -> Result<StreamId, Failure> {
    Ok(StreamId::try_new(format!("account-{account}"))?)
}

struct Deposit {
    account: StreamId,
    times: u32,
}

impl CommandStreams for Deposit {
    fn stream_declarations(&self) -> StreamDeclarations {
        StreamDeclarations::try_from_streams(vec![self.account.clone()]).expect("one stream")
    }
}

impl CommandLogic for Deposit {
    type Event = AccountEvent;
    type State = i64;

    fn apply(&self, balance: i64, event: &AccountEvent) -> i64 {
        fold(balance, event)
    }

    fn handle(&self, _: i64) -> Result<NewEvents<AccountEvent>, CommandError> {
        let deposited = || AccountEvent::Deposited { account: self.account.clone(), amount: 1 };
        Ok((0..self.times).map(|_| deposited()).collect::<Vec<_>>().into())
    }
}

struct Transfer {
    from: StreamId,
    to: StreamId,
}

impl CommandStreams for Transfer {
    fn stream_declarations(&self) -> StreamDeclarations {
        StreamDeclarations::try_from_streams(vec![self.from.clone(), self.to.clone()]).expect("two streams")
    }
}

impl CommandLogic for Transfer {
    type Event = AccountEvent;
    type State = (i64, i64);

    fn apply(&self, (from, to): (i64, i64), event: &AccountEvent) -> (i64, i64) {
        if *event.stream_id() == self.from { (fold(from, event), to) } else { (from, fold(to, event)) }
    }

    fn handle(&self, _: (i64, i64)) -> Result<NewEvents<AccountEvent>, CommandError> {
        let withdrawn = AccountEvent::Withdrawn { account: self.from.clone(), amount: 1 };
        Ok(vec![withdrawn, AccountEvent::Deposited { account: self.to.clone(), amount: 1 }].into())
    }
}

pub struct Bank<S>(pub S);

pub fn memory() -> InMemoryEventStore {
    InMemoryEventStore::new()
}

pub async fn sqlite(path: &str) -> Result<SqliteEventStore, Failure> {
    let store = SqliteEventStore::new(SqliteConfig { path: path.into(), encryption_key: None })?;
    store.migrate().await?;
    Ok(store)
}

pub async fn postgres(url: &str) -> Result<PostgresEventStore, Failure> {
    let store = PostgresEventStore::new(url).await?;
    store.migrate().await;
    Ok(store)
}

impl<S: EventStore + Send + Sync + 'static> Accounts for Bank<S> {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        execute(&self.0, Deposit { account: id(account)?, times }, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        execute(&self.0, Transfer { from: id(from)?, to: id(to)? }, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let events = collect_events(self.0.read_stream::<AccountEvent>(id(account)?).await?).await?;
        Ok((events.iter().fold(0, fold), events.len() as u64))
    }
}
