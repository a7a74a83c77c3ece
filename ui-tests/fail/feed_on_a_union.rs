//! A union instead of an enum.

use eventcore::EventFeed;

#[derive(EventFeed)]
union Ledger {
    account: u64,
}

fn main() {}
