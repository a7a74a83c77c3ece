//! The attribute on a field.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, #[event_feed(only("AccountDeposited"))] AccountEvent),
}

fn main() {}
