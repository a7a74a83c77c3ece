//! A mistyped argument of `#[command]`.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discover(other: Option<AccountId>))]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
