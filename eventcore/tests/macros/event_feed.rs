//! `derive(EventFeed)` on stores: typed keys and events come back, and nothing of a category is passed over unasked.

use std::{sync::Arc, time::Duration};

use eventcore::{
    DecodeError, Event, EventFeed, EventStore, Position, RecordedEvent, StreamIdError, StreamKey,
    memory::MemoryEventStore,
    projection::{FeedError, FeedErrorCause, subscribe},
    sqlite::SqliteEventStore,
    store::NewEvent,
};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::append::{commit, expected, noted};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
}

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum OrderEvent {
    Placed,
    Shipped,
}

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "order", event = OrderEvent)]
struct OrderId(String);

#[derive(Debug, PartialEq, EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent),
    #[event_feed(only("OrderShipped"))]
    Order(OrderId, OrderEvent),
}

async fn stores() -> Vec<Arc<dyn EventStore>> {
    let path = tempfile::tempdir().unwrap().keep().join("feed.db");
    vec![
        Arc::new(MemoryEventStore::new()),
        Arc::new(SqliteEventStore::open(path).await.unwrap()),
    ]
}

/// As another version of the program would: under whatever name.
async fn append(store: &dyn EventStore, stream: &str, type_name: &'static str, payload: &str) {
    let event = NewEvent {
        type_name,
        ..noted(0, payload)
    };
    let commit = commit(vec![expected(stream, 0)], vec![event]);
    store.append(commit).await.unwrap();
}

/// The next `count` events of the feed.
async fn read(store: Arc<dyn EventStore>, count: usize) -> Vec<Result<Ledger, FeedError>> {
    let events = subscribe(store, Position::START, Ledger::filter()).take(count);
    let decoded = events
        .map(|event| Ledger::decode(&event.unwrap()))
        .collect();
    tokio::time::timeout(Duration::from_mins(10), decoded)
        .await
        .expect("an event is missing")
}

#[tokio::test]
async fn keys_and_events_come_back_typed_and_a_narrowed_variant_passes_over_the_rest() {
    for store in stores().await {
        append(&*store, "account-7", "AccountOpened", r#"{"owner":"Ada"}"#).await;
        append(&*store, "invoice-1", "InvoiceSent", "{}").await;
        append(&*store, "order-a-1", "OrderPlaced", "{}").await;
        append(&*store, "order-a-2", "OrderShipped", "{}").await;
        append(&*store, "account-8", "AccountDeposited", r#"{"amount":5}"#).await;

        let read: Result<Vec<Ledger>, _> = read(store, 3).await.into_iter().collect();

        assert_eq!(
            read.unwrap(),
            [
                Ledger::Account(
                    AccountId(7),
                    AccountEvent::Opened {
                        owner: "Ada".into()
                    }
                ),
                Ledger::Order(OrderId("a-2".into()), OrderEvent::Shipped),
                Ledger::Account(AccountId(8), AccountEvent::Deposited { amount: 5 }),
            ]
        );
    }
}

#[tokio::test]
async fn what_the_event_type_or_the_key_type_does_not_know_is_an_error_with_its_place() {
    for store in stores().await {
        append(&*store, "account-7", "AccountFrozen", "{}").await;
        append(&*store, "account-8", "AccountDeposited", r#"{"amount":-5}"#).await;
        append(&*store, "account-x", "AccountDeposited", r#"{"amount":5}"#).await;

        let read = read(store, 3).await;
        let errors: Vec<FeedError> = read.into_iter().map(Result::unwrap_err).collect();

        let causes: Vec<_> = errors.iter().map(|error| &error.cause).collect();
        assert!(
            matches!(
                causes[..],
                [
                    FeedErrorCause::Event(DecodeError::UnknownType { .. }),
                    FeedErrorCause::Event(DecodeError::InvalidPayload { .. }),
                    FeedErrorCause::Key(StreamIdError::InvalidKey { .. }),
                ]
            ),
            "{causes:?}"
        );
        let positions: Vec<u64> = errors.iter().map(|error| error.position.get()).collect();
        assert_eq!(positions, [1, 2, 3]);
        let said = errors[0].to_string();
        assert!(
            said.contains("stream `account-7`, `AccountFrozen` at position 1"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_event_of_another_category_is_not_in_the_feed() {
    let store = MemoryEventStore::new();
    append(&store, "invoice-1", "InvoiceSent", "{}").await;
    let mut events = subscribe(&store, Position::START, RecordedEvent::filter());
    let event = events.next().await.unwrap().unwrap();
    let cause = Ledger::decode(&event).unwrap_err().cause;
    assert!(matches!(cause, FeedErrorCause::NotInFeed), "{cause:?}");
}
