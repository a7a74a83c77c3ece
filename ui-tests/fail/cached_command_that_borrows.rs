//! The state of a command that borrows is not remembered.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Command)]
#[command(cached)]
struct Withdraw<'a> {
    #[stream]
    account: AccountId,
    note: &'a str,
}

impl CommandLogic for Withdraw<'_> {
    type State = u64;
    type Error = Refused;

    fn apply(&self, _: &mut u64, _: WithdrawEvent<'_>) {}

    fn handle(&self, _: &u64, _: WithdrawStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

fn main() {}
