//! The state of a stream is read; it changes by events.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Command)]
struct Withdraw {
    #[stream]
    account: AccountId,
    amount: u64,
}

impl CommandLogic for Withdraw {
    type State = ();
    type Error = Refused;

    fn handle(&self, _: &(), streams: WithdrawStreams<'_>) -> Result<(), Refused> {
        streams.account.balance -= self.amount;
        Ok(())
    }
}

fn main() {}
