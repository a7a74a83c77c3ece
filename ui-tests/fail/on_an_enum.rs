//! A command is a struct.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
enum Deposit {
    Cash(AccountId),
}

fn main() {}
