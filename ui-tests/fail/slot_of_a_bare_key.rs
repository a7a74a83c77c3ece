//! A slot that has no default.

use eventcore::{Command, CommandLogic, StreamResolver};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(order: OrderId))]
struct Deposit {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: DepositEvent<'_>) {}

    fn handle(&self, (): &(), _: DepositStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

impl StreamResolver for Deposit {
    fn discover_related_streams(&self, (): &(), _: DepositKnownStreams<'_>) -> DepositDiscovered {
        DepositDiscovered { order: OrderId(1) }
    }
}

fn main() {}
