//! A misspelt argument, and one of another name.

use eventcore::EventFeed;
use ui_tests::{AccountEvent, AccountId, OrderEvent, OrderId};

#[derive(EventFeed)]
enum Ledger {
    #[event_feed(onyl("AccountDeposited"))]
    Account(AccountId, AccountEvent),
    #[event_feed(types = "OrderPlaced")]
    Order(OrderId, OrderEvent),
}

fn main() {}
