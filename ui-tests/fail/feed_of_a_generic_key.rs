//! A key that may not be one.

use eventcore::EventFeed;

#[derive(EventFeed)]
enum Ledger<K, E> {
    Any(K, E),
}

fn main() {}
