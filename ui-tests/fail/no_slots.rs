//! `discovers` without slots.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discovers())]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
