//! The domain of the benchmarks: accounts, a deposit on one stream, a transfer on two.
#![allow(dead_code, missing_docs)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    Command, CommandLogic, CommitId, Event, EventStore, Metadata, RetryPolicy, StreamId, StreamKey,
    StreamState, Version, execute, require,
    store::{AppendRequest, ExpectedVersion, NewEvent},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Debug, Clone, Default)]
pub struct Account {
    balance: i64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { .. } => self.balance += 1,
            AccountEvent::Withdrawn { .. } => self.balance -= 1,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
pub struct AccountId(pub u64);

#[derive(Debug, thiserror::Error)]
#[error("overdrawn")]
pub struct Overdrawn;

#[derive(Command)]
pub struct Deposit {
    #[stream]
    pub account: AccountId,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Overdrawn;

    fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), Overdrawn> {
        require!(streams.account.balance > -1_000_000, Overdrawn);
        streams
            .account
            .append(AccountEvent::Deposited { amount: 5 });
        Ok(())
    }
}

#[derive(Command)]
pub struct Transfer {
    #[stream]
    pub from: AccountId,
    #[stream]
    pub to: AccountId,
}

impl CommandLogic for Transfer {
    type State = ();
    type Error = Overdrawn;

    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), Overdrawn> {
        require!(streams.from.balance > -1_000_000, Overdrawn);
        streams.from.append(AccountEvent::Withdrawn { amount: 5 });
        streams.to.append(AccountEvent::Deposited { amount: 5 });
        Ok(())
    }
}

/// Runs `commands` commands by `clients` clients at once. Each uses accounts of its own, new every 4 commands so that
/// streams stay short, and numbered as they are opened, like those of a lone client.
pub async fn clients<S: EventStore + 'static>(
    store: Arc<S>,
    clients: u64,
    commands: u64,
    two_streams: bool,
    base: u64,
) {
    let opened = Arc::new(AtomicU64::new(base));
    let tasks = (0..clients).map(|client| {
        let (store, opened) = (store.clone(), opened.clone());
        let share = commands / clients + u64::from(client < commands % clients);
        tokio::spawn(async move {
            let mut account = base;
            for number in 0..share {
                if number % 4 == 0 {
                    account = opened.fetch_add(2, Ordering::Relaxed);
                }
                let policy = RetryPolicy::new();
                if two_streams {
                    let command = Transfer {
                        from: AccountId(account),
                        to: AccountId(account + 1),
                    };
                    execute(&store, command, policy).await.expect("a transfer");
                } else {
                    execute(
                        &store,
                        Deposit {
                            account: AccountId(account),
                        },
                        policy,
                    )
                    .await
                    .expect("a deposit");
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a client");
    }
}

/// 32 tasks run 20 commands each on one stream.
pub async fn contend<S: EventStore + 'static>(store: Arc<S>) {
    let tasks = (0..32).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let command = Deposit {
                    account: AccountId(1),
                };
                execute(&store, command, RetryPolicy::new())
                    .await
                    .expect("a deposit");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("a task");
    }
}

/// Appends `count` deposits to each of the streams, which are at `version`.
pub async fn deposit_each(
    store: &impl EventStore,
    streams: &[StreamId],
    version: u64,
    count: usize,
) {
    let expected = |stream: &StreamId| ExpectedVersion {
        stream: stream.clone(),
        version: Version::new(version),
        event_id: None,
    };
    let event = |stream| NewEvent {
        stream,
        type_name: "AccountDeposited",
        payload: (&b"{\"amount\":5}"[..]).into(),
    };
    let request = AppendRequest::new(
        CommitId::generate(),
        streams.iter().map(expected).collect(),
        (0..streams.len() * count)
            .map(|n| event(n % streams.len()))
            .collect(),
        Metadata::default(),
        None,
    );
    store
        .append(request.expect("a request"))
        .await
        .expect("an append");
}

/// An account of about so many deposits. Every command adds one, so now and then a new one takes its place.
pub struct LongAccount {
    events: usize,
    account: u64,
    /// The number of commands that are left.
    left: usize,
}

impl LongAccount {
    pub fn new(events: usize) -> Self {
        Self {
            events,
            account: 0,
            left: 0,
        }
    }

    /// Returns the time that `commands` commands take.
    pub async fn time<C: CommandLogic>(
        &mut self,
        store: &impl EventStore,
        commands: u64,
        command: impl Fn(AccountId) -> C,
    ) -> Duration {
        let mut elapsed = Duration::ZERO;
        for _ in 0..commands {
            if self.left == 0 {
                self.left = self.events / 20 + 1;
                self.account += 1;
                fill(store, AccountId(self.account), self.events).await;
            }
            self.left -= 1;
            let command = command(AccountId(self.account));
            let started = Instant::now();
            let done = execute(store, command, RetryPolicy::new()).await;
            elapsed += started.elapsed();
            assert!(done.is_ok());
        }
        elapsed
    }
}

/// Fills an account with `events` deposits.
async fn fill(store: &impl EventStore, account: AccountId, events: usize) {
    let stream = [account.stream_id().expect("an id")];
    let mut written = 0;
    while written < events {
        let batch = 1000.min(events - written);
        deposit_each(store, &stream, written as u64, batch).await;
        written += batch;
    }
}

/// Sets the number of states that the store keeps in its cache; with 0, each command folds its streams from the start.
pub fn cache(store: &impl EventStore, states: usize) {
    store.states().expect("a cache").set_capacity(states);
}
