//! A command without streams.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    account: AccountId,
}

fn main() {}
