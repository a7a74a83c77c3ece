//! Narrowing all variants at once.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
#[event_feed(only("AccountDeposited"))]
enum Ledger {
    Account(AccountId, AccountEvent),
}

fn main() {}
