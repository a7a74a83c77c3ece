//! More than a key and an event.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent, u64),
}

fn main() {}
