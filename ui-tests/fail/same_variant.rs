//! Two fields whose event variants would have one name.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
    #[stream]
    account_: AccountId,
}

fn main() {}
