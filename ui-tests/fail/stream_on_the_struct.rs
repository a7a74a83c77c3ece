//! `#[stream]` belongs on a field.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[stream]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
