//! The attribute on a field.

use eventcore::projection::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, #[event_feed(only("AccountDeposited"))] AccountEvent),
}

fn main() {}
