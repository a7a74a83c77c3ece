//! The chapter on subscriptions: accounts and orders.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

use eventcore::{EventFilter, EventSelector, EventStore, Position, projection::subscribe};
use futures_util::StreamExt;

async fn print_orders(store: impl EventStore + Clone) -> Result<(), Box<dyn std::error::Error>> {
    let orders = EventFilter::any_of([EventSelector::category("order")]);
    let mut events = subscribe(store, Position::START, orders);
    while let Some(event) = events.next().await {
        let event = event?;
        println!("{} {} {}", event.position, event.stream, event.type_name);
    }
    Ok(()) // the store was closed
}

use eventcore::{Event, EventFeed, StreamKey};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
}

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum OrderEvent {
    Placed { total: u64 },
    Packed,
}

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "order", event = OrderEvent)]
struct OrderId(u64);

#[derive(Debug, PartialEq, EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent),
    #[event_feed(only("OrderPlaced"))]
    Order(OrderId, OrderEvent),
}

async fn print_ledger(store: impl EventStore + Clone) -> Result<(), Box<dyn std::error::Error>> {
    let mut events = subscribe(store, Position::START, Ledger::filter());
    while let Some(event) = events.next().await {
        match Ledger::decode(&event?)? {
            Ledger::Account(AccountId(account), AccountEvent::Deposited { amount }) => {
                println!("account {account}: {amount} deposited");
            }
            Ledger::Order(OrderId(order), event) => println!("order {order}: {event:?}"),
        }
    }
    Ok(())
}

use eventcore::{Command, CommandLogic};

/// A command that deposits the total of an order.
#[derive(Debug, Command)]
struct Pay {
    #[stream]
    account: AccountId,
    #[stream]
    order: OrderId,
}

impl CommandLogic for Pay {
    type State = ();
    type Error = std::convert::Infallible;

    fn handle(&self, (): &(), streams: PayStreams<'_>) -> Result<(), std::convert::Infallible> {
        streams.order.append(OrderEvent::Placed { total: 5 });
        streams.order.append(OrderEvent::Packed);
        streams
            .account
            .append(AccountEvent::Deposited { amount: 5 });
        Ok(())
    }
}

#[tokio::test]
async fn a_feed_has_the_events_that_it_names() {
    use eventcore::{RetryPolicy, execute, sqlite::SqliteEventStore};

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(folder.path().join("shop.db"))
        .await
        .unwrap();
    let pay = Pay {
        account: AccountId(1),
        order: OrderId(7),
    };
    execute(&store, pay, RetryPolicy::new()).await.unwrap();
    let events: Vec<_> = subscribe(&store, Position::START, Ledger::filter())
        .take(2)
        .map(|event| Ledger::decode(&event.unwrap()).unwrap())
        .collect()
        .await;
    assert_eq!(
        events,
        [
            Ledger::Order(OrderId(7), OrderEvent::Placed { total: 5 }),
            Ledger::Account(AccountId(1), AccountEvent::Deposited { amount: 5 }),
        ]
    );
    // Both end when the store is closed.
    let (ledger, orders) = (print_ledger(store.clone()), print_orders(store.clone()));
    let (ledger, orders, ()) = tokio::join!(ledger, orders, store.close());
    ledger.unwrap();
    orders.unwrap();
}
