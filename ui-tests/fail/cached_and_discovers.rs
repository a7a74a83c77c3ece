//! Streams that come out of the state.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(cached, discovers(other: Option<AccountId>))]
struct Withdraw {
    #[stream]
    account: AccountId,
}

fn main() {}
