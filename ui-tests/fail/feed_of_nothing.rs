//! No variant.

use eventcore::projection::EventFeed;

#[derive(EventFeed)]
enum Ledger {}

fn main() {}
