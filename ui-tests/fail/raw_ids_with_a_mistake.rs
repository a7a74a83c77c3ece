//! `event = …` on an `Option` of a key and forgotten on a `Vec` of raw ids.

use eventcore::{Command, CommandLogic, StreamId};
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(read, event = AccountEvent)]
    account: Option<AccountId>,
    #[stream(read)]
    others: Vec<StreamId>,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: DepositEvent<'_>) {}

    fn handle(&self, (): &(), _: DepositStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

fn main() {}
