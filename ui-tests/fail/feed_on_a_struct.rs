//! A struct instead of an enum.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
struct Ledger {
    account: AccountId,
    event: AccountEvent,
}

fn main() {}
