//! A mistyped argument.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(raed)]
    account: AccountId,
}

fn main() {}
