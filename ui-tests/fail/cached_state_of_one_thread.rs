//! A state that stays on its thread is not remembered.

use std::rc::Rc;

use eventcore::{Command, CommandLogic};
use ui_tests::*;

#[derive(Command)]
#[command(cached)]
struct Withdraw {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Withdraw {
    type State = Rc<u64>;
    type Error = Refused;

    fn apply(&self, _: &mut Rc<u64>, _: WithdrawEvent<'_>) {}

    fn handle(&self, _: &Rc<u64>, _: WithdrawStreams<'_>) -> Result<(), Refused> {
        Ok(())
    }
}

fn main() {}
