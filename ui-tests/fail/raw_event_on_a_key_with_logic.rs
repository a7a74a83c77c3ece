//! `event = …` on a key, in a command that is complete otherwise.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(event = AccountEvent)]
    account: AccountId,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: DepositEvent<'_>) {}

    fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), Refused> {
        streams.account.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

fn main() {}
