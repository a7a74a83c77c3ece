//! `cached` is one word.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(cached = true)]
struct Withdraw {
    #[stream]
    account: AccountId,
}

fn main() {}
