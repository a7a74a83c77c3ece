//! Keys in a set.

use std::collections::HashSet;

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    accounts: HashSet<AccountId>,
}

fn main() {}
