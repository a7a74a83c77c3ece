//! `write` is not needed.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(write)]
    account: AccountId,
}

fn main() {}
