//! Two slots of one name.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discovers(order: Option<OrderId>, order: Vec<OrderId>))]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
