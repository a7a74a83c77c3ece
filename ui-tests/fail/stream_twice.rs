//! `#[stream]` twice on one field.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    #[stream(read)]
    account: AccountId,
}

fn main() {}
