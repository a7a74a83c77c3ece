//! Attacks that compile still write to declared streams only.

use std::{cell::Cell, fmt};

use eventcore::{
    Command, CommandLogic, EventFilter, EventStore, Position, RetryPolicy, StreamKey, execute, memory::MemoryEventStore,
    store::ReadFeedRequest,
};
use ui_tests::*;

/// Two handles of one key type change places, within one command.
#[derive(Command)]
struct Swap {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
}

impl CommandLogic for Swap {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: SwapEvent<'_>) {}

    fn handle(&self, (): &(), mut streams: SwapStreams<'_>) -> Result<(), Refused> {
        std::mem::swap(&mut streams.from, &mut streams.to);
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        streams.to.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

/// A hand-written key that names another stream each time it is asked.
struct Shifty(Cell<u64>);

impl StreamKey for Shifty {
    type State = ();
    type Event = AccountEvent;
    const CATEGORY: &'static str = "account";

    fn key(&self) -> impl fmt::Display {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }

    fn parse_key(_: &str) -> Result<Self, String> {
        Err("never read".to_owned())
    }
}

#[derive(Command)]
struct Shift {
    #[stream]
    account: Shifty,
}

impl CommandLogic for Shift {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: ShiftEvent<'_>) {}

    fn handle(&self, (): &(), streams: ShiftStreams<'_>) -> Result<(), Refused> {
        // From now on it names another one.
        let _ = self.account.stream_id();
        streams.account.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

async fn written(store: &MemoryEventStore) -> Vec<String> {
    let request = ReadFeedRequest { after: Position::START, filter: EventFilter::All, limit: 100 };
    let page = store.read_feed(request).await.unwrap();
    page.events.iter().map(|event| format!("{} {}", event.stream, event.type_name)).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryEventStore::new();
    execute(&store, Swap { from: AccountId(1), to: AccountId(2) }, RetryPolicy::new()).await.unwrap();
    assert_eq!(written(&store).await, ["account-2 AccountWithdrawn", "account-1 AccountDeposited"]);

    let store = MemoryEventStore::new();
    execute(&store, Shift { account: Shifty(Cell::new(0)) }, RetryPolicy::new()).await.unwrap();
    assert_eq!(written(&store).await, ["account-1 AccountDeposited"]);
}
