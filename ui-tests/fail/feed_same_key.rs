//! Two variants for the same streams.

use eventcore::projection::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Opened(AccountId, AccountEvent),
    Closed(AccountId, AccountEvent),
}

fn main() {}
