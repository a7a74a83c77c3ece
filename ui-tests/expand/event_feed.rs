//! The events of some categories, as one type.

#[derive(EventFeed)]
enum Ledger {
    /// All events of all accounts.
    Account(AccountId, AccountEvent),
    #[event_feed(only("OrderPlaced", "order.cancelled"))]
    Order(OrderId, OrderEvent),
}

/// Of any one kind of streams.
#[derive(EventFeed)]
#[event_feed(crate = my::eventcore)]
enum Only<K: StreamKey> {
    One(K, K::Event),
}
