//! The bank on this library.

use std::{convert::Infallible, sync::Arc};

use eventcore::{
    Command, CommandLogic, Event, EventStore, RetryPolicy, StreamKey, StreamState, Version, execute,
    store::{MAX_PAGE_EVENTS, ReadStreamsRequest, StreamCursor},
};
use serde::{Deserialize, Serialize};
use workload::{Accounts, Failure};

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Clone, Default)]
struct Account {
    balance: i64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount as i64,
            AccountEvent::Withdrawn { amount } => self.balance -= amount as i64,
        }
    }
}

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
struct AccountId(u32);

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
    times: u32,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), Infallible> {
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
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), Infallible> {
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        streams.to.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

pub struct Bank {
    pub store: Arc<dyn EventStore>,
}

impl Accounts for Bank {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        let account = AccountId(account);
        execute(&self.store, Deposit { account, times }, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        execute(&self.store, Transfer { from: AccountId(from), to: AccountId(to) }, RetryPolicy::new()).await?;
        Ok(())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        // Reads the events themselves, so that the check does not depend on the cache.
        let (mut state, mut after) = (Account::default(), Version::EMPTY);
        loop {
            let page = self
                .store
                .read_streams(ReadStreamsRequest {
                    streams: vec![StreamCursor { stream: AccountId(account).stream_id()?, after, snapshot: None }],
                    snapshot: None,
                    limit: MAX_PAGE_EVENTS,
                    idempotency_key: None,
                })
                .await?;
            let Some(last) = page.events.last() else {
                return Ok((state.balance, after.get()));
            };
            after = last.version;
            for event in &page.events {
                state.apply(event.decode()?);
            }
        }
    }
}
