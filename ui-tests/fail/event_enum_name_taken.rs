//! A domain event with the name of the enum that the derive generates. The fix is
//! `#[command(event = …)]`.
//!
//! rustc leaves no way to say so: a derive does not see the other items of the module, and the
//! error about two items of one name takes no note. The guide explains it.

use eventcore::Command;
use ui_tests::*;

enum DepositEvent {
    Made,
}

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
