//! An event that is not that of the key.

use eventcore::projection::EventFeed;
use ui_tests::{AccountId, OrderEvent};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, OrderEvent),
}

fn main() {}
