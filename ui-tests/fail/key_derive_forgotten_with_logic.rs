//! A newtype that is no key, in a command that is complete otherwise.
//!
//! rustc leaves no way to one error: it reports the missing trait for each item and each signature
//! that mentions a generated type.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

struct AccountNumber(u64);

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountNumber,
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
