//! Slots that nobody fills.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(other: Option<AccountId>))]
struct Deposit {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Refused;

    fn apply(&self, _: &mut (), _: DepositEvent<'_>) {}

    fn handle(&self, _: &(), _: DepositStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

fn main() {}
