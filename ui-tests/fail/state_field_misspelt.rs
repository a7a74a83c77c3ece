//! The state of a stream has no such field.

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
        eventcore::require!(streams.account.balanse >= self.amount, Refused);
        Ok(())
    }
}

fn main() {}
