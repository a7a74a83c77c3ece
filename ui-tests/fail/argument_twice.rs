//! An argument twice.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(read, read)]
    account: AccountId,
}

fn main() {}
