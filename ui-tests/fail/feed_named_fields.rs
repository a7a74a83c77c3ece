//! Fields with names.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account { id: AccountId, event: AccountEvent },
}

fn main() {}
