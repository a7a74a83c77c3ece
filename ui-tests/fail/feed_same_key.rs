//! Two variants for the same streams.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Opened(AccountId, AccountEvent),
    Closed(AccountId, AccountEvent),
}

fn main() {}
