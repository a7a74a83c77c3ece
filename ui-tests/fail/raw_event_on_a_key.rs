//! `event = …` on a key, which says already what it holds.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream(event = AccountEvent)]
    account: AccountId,
}

fn main() {}
