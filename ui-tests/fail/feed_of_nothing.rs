//! No variant.

use eventcore::EventFeed;

#[derive(EventFeed)]
enum Ledger {}

fn main() {}
