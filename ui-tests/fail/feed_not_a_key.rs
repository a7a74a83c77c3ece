//! The first field is no key.

use eventcore::EventFeed;
use ui_tests::AccountEvent;

#[derive(EventFeed)]
enum Ledger {
    Account(String, AccountEvent),
}

fn main() {}
