//! The fields the other way round.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountEvent, AccountId),
}

fn main() {}
