//! The first field is no key.

use eventcore::projection::EventFeed;
use ui_tests::AccountEvent;

#[derive(EventFeed)]
enum Ledger {
    Account(String, AccountEvent),
}

fn main() {}
