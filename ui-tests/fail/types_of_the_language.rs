//! Types of the language name no streams.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    pair: (AccountId, AccountId),
    #[stream]
    accounts: [AccountId; 2],
    #[stream]
    pointer: *const AccountId,
    #[stream]
    maybe: Option<(u64, u64)>,
    #[stream(event = AccountEvent)]
    raw: [eventcore::StreamId; 2],
}

fn main() {}
