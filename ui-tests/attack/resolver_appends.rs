//! A resolver sees states, and appends nothing.

use eventcore::{Command, CommandLogic, StreamResolver};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(other: Option<AccountId>))]
struct Move {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Move {
    type State = ();
    type Error = Refused;

    fn handle(&self, _: &(), _: MoveStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl StreamResolver for Move {
    fn discover_related_streams(&self, _: &(), streams: MoveKnownStreams<'_>) -> MoveDiscovered {
        streams.account.append(AccountEvent::Deposited { amount: 1 });
        MoveDiscovered { other: None }
    }
}

fn main() {}
