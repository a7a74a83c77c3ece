//! The bank on this library.

use std::{convert::Infallible, sync::Arc};

use eventcore::{
    Command, CommandLogic, Event, EventStore, RetryPolicy, StreamKey, Version, execute,
    store::{MAX_PAGE_EVENTS, ReadStreamsRequest, StreamCursor},
};
use serde::{Deserialize, Serialize};
use workload::{Accounts, Failure};

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u32);

fn fold(balance: &mut i64, event: &AccountEvent) {
    match event {
        AccountEvent::Deposited { amount } => *balance += *amount as i64,
        AccountEvent::Withdrawn { amount } => *balance -= *amount as i64,
    }
}

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
    times: u32,
}

impl CommandLogic for Deposit {
    type State = i64;
    type Error = Infallible;

    fn apply(&self, balance: &mut i64, DepositEvent::Account(event): DepositEvent<'_>) {
        fold(balance, &event);
    }

    fn handle(&self, _: &i64, streams: DepositStreams<'_>) -> Result<(), Infallible> {
        for _ in 0..self.times {
            streams.account.append(AccountEvent::Deposited { amount: 1 });
        }
        Ok(())
    }
}

/// A deposit that goes on from the state which the one before it has folded.
#[derive(Command)]
#[command(cached)]
struct CachedDeposit {
    #[stream]
    account: AccountId,
    times: u32,
}

impl CommandLogic for CachedDeposit {
    type State = i64;
    type Error = Infallible;

    fn apply(&self, balance: &mut i64, CachedDepositEvent::Account(event): CachedDepositEvent<'_>) {
        fold(balance, &event);
    }

    fn handle(&self, _: &i64, streams: CachedDepositStreams<'_>) -> Result<(), Infallible> {
        for _ in 0..self.times {
            streams.account.append(AccountEvent::Deposited { amount: 1 });
        }
        Ok(())
    }
}

#[derive(Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
}

impl CommandLogic for Transfer {
    type State = (i64, i64);
    type Error = Infallible;

    fn apply(&self, (from, to): &mut (i64, i64), event: TransferEvent<'_>) {
        match event {
            TransferEvent::From(event) => fold(from, &event),
            TransferEvent::To(event) => fold(to, &event),
        }
    }

    fn handle(&self, _: &(i64, i64), streams: TransferStreams<'_>) -> Result<(), Infallible> {
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        streams.to.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

pub struct Bank {
    pub store: Arc<dyn EventStore>,
    pub cached: bool,
}

impl Accounts for Bank {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        let account = AccountId(account);
        if self.cached {
            execute(&self.store, CachedDeposit { account, times }, RetryPolicy::new()).await?;
        } else {
            execute(&self.store, Deposit { account, times }, RetryPolicy::new()).await?;
        }
        Ok(())
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        execute(&self.store, Transfer { from: AccountId(from), to: AccountId(to) }, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let (mut balance, mut after) = (0, Version::EMPTY);
        loop {
            let page = self
                .store
                .read_streams(ReadStreamsRequest {
                    streams: vec![StreamCursor { stream: AccountId(account).stream_id()?, after }],
                    snapshot: None,
                    limit: MAX_PAGE_EVENTS,
                    idempotency_key: None,
                })
                .await?;
            let Some(last) = page.events.last() else {
                return Ok((balance, after.get()));
            };
            after = last.version;
            for event in &page.events {
                fold(&mut balance, &event.decode()?);
            }
        }
    }
}
