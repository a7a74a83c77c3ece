//! `discovers` given twice.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discovers(order: Option<OrderId>), discovers(limits: Option<LimitsId>))]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
