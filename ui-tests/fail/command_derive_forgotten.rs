//! `derive(Command)` forgotten. The note of the first error and the last message name it.
//!
//! rustc leaves no way to fewer errors: it resolves all names and attributes before it asks for
//! a trait, so that it reports each name that the derive would have generated.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

struct Deposit {
    #[stream]
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
