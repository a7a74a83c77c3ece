//! The key is missing.

use eventcore::projection::EventFeed;
use ui_tests::AccountEvent;

#[derive(EventFeed)]
enum Ledger {
    Account(AccountEvent),
}

fn main() {}
