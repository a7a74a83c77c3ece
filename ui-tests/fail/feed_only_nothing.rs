//! Narrowed to nothing, to a variant instead of a name, and to a name twice.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId, OrderEvent, OrderId};
use ui_tests::{LimitsEvent, LimitsId};

#[derive(EventFeed)]
enum Ledger {
    #[event_feed(only())]
    Account(AccountId, AccountEvent),
    #[event_feed(only(Placed))]
    Order(OrderId, OrderEvent),
    #[event_feed(only("LimitsSet", "LimitsSet"))]
    Limits(LimitsId, LimitsEvent),
}

fn main() {}
