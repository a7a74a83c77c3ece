//! The state belongs to the key, not to the field.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Withdraw {
    #[stream(state = Account)]
    account: AccountId,
}

fn main() {}
