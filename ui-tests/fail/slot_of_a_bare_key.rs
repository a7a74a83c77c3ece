//! A slot that has no default.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discovers(order: OrderId))]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
