//! All errors are reported at once.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(event = 5)]
struct Deposit {
    #[stream(wirte)]
    account: AccountId,
    #[stream]
    #[stream]
    other: AccountId,
}

fn main() {}
