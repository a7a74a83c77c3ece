//! A resolver that returns another type than the slots.

use eventcore::{Command, CommandLogic, StreamResolver};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(order: Option<OrderId>))]
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
    fn discover_related_streams(&self, (): &(), _: DepositKnownStreams<'_>) -> Vec<OrderId> {
        vec![OrderId(1)]
    }
}

fn main() {}
