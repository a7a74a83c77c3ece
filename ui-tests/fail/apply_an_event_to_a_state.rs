//! Nor by its own methods.

use eventcore::{Command, CommandLogic, StreamState};
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
        streams.account.apply(AccountEvent::Withdrawn { amount: self.amount });
        Ok(())
    }
}

fn main() {}
