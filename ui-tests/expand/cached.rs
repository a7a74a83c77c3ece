//! A command whose state is remembered.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(cached)]
struct Withdraw {
    #[stream]
    account: AccountId,
    amount: u64,
}
