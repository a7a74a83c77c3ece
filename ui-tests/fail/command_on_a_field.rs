//! `#[command]` belongs on the struct.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    #[command(streams = Handles)]
    account: AccountId,
}

fn main() {}
