//! A type that names no stream, in a command that is complete otherwise.

use eventcore::{Command, CommandLogic, memory::MemoryEventStore};
use ui_tests::{AccountEvent, AccountId, Refused};

#[derive(Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: String,
}

impl CommandLogic for Transfer {
    type State = u64;
    type Error = Refused;

    fn apply(&self, available: &mut u64, event: TransferEvent<'_>) {
        match event {
            TransferEvent::From(AccountEvent::Deposited { amount }) => *available += amount,
            _ => {}
        }
    }

    fn handle(&self, available: &u64, streams: TransferStreams<'_>) -> Result<(), Refused> {
        eventcore::require!(*available >= 1, Refused);
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        streams.to.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

async fn run(store: MemoryEventStore) {
    let from = AccountId(1);
    let to = "2".to_owned();
    let _ = eventcore::execute(&store, Transfer { from, to }, eventcore::ExecuteOptions::default()).await;
}

fn main() {}
