//! The key is missing.

use eventcore::EventFeed;
use ui_tests::AccountEvent;

#[derive(EventFeed)]
enum Ledger {
    Account(AccountEvent),
}

fn main() {}
