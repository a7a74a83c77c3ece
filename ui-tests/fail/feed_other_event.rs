//! An event that is not that of the key.

use eventcore::EventFeed;
use ui_tests::{AccountId, OrderEvent};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, OrderEvent),
}

fn main() {}
