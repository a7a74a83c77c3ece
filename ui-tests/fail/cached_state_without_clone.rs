//! A state that cannot be copied is not remembered.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Default)]
struct Balance;

#[derive(Command)]
#[command(cached)]
struct Withdraw {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Withdraw {
    type State = Balance;
    type Error = Refused;

    fn apply(&self, _: &mut Balance, _: WithdrawEvent<'_>) {}

    fn handle(&self, _: &Balance, _: WithdrawStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

fn main() {}
