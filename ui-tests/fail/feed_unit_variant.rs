//! Neither key nor event.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent),
    Others,
}

fn main() {}
