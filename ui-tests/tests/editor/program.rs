use std::convert::Infallible;

use eventcore::{Command, CommandLogic, Event, StreamKey};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Event)]
pub enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
pub struct AccountId(pub u64);

#[derive(Command)]
pub struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
    #[stream(read)]
    limits: AccountId,
}

impl CommandLogic for Transfer {
    type State = u64;
    type Error = Infallible;

    fn apply(&self, count: &mut u64, event: TransferEvent<'_>) {
        if let TransferEvent::From(_) = event {
            *count += 1;
        }
    }

    fn handle(&self, _: &u64, streams: TransferStreams<'_>) -> Result<(), Infallible> {
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        Ok(())
    }
}
