//! A stored name that the event type does not know.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    #[event_feed(only("AccountDeposited", "AccountWithdrawed"))]
    Account(AccountId, AccountEvent),
}

fn main() {}
