//! States are cached without being asked for.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(cached)]
struct Withdraw {
    #[stream]
    account: AccountId,
}

fn main() {}
