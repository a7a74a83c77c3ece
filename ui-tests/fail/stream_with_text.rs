//! `#[stream("…")]` is no form.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream("account")]
    account: AccountId,
}

fn main() {}
