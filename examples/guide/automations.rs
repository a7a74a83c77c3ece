//! The chapter on automations: what was paid is shipped.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

use eventcore::{
    Command, CommandError, CommandLogic, Event, EventStore, StreamKey, StreamState, require,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
enum OrderEvent {
    Placed,
    Paid,
    Shipped,
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "order", event = OrderEvent, state = Order)]
struct OrderId(u64);

#[derive(Debug, Default)]
struct Order {
    is_shipped: bool,
}

impl StreamState<OrderEvent> for Order {
    fn apply(&mut self, event: OrderEvent) {
        self.is_shipped |= event == OrderEvent::Shipped;
    }
}

#[derive(Debug, Command)]
struct Ship {
    #[stream]
    order: OrderId,
}

#[derive(Debug, PartialEq, thiserror::Error)]
enum ShipError {
    #[error("it is shipped already")]
    AlreadyShipped,
}

impl CommandLogic for Ship {
    type State = ();
    type Error = ShipError;

    fn handle(&self, (): &(), streams: ShipStreams<'_>) -> Result<(), ShipError> {
        require!(!streams.order.is_shipped, ShipError::AlreadyShipped);
        streams.order.append(OrderEvent::Shipped);
        Ok(())
    }
}

use eventcore::projection::{Automation, ProjectionRunner, Reaction};
use eventcore::sqlite::SqliteEventStore;

struct ShipPaidOrders;

impl<S: EventStore> Automation<S> for ShipPaidOrders {
    type Feed = (OrderId, OrderEvent);
    type Error = CommandError<ShipError>;
    const NAME: &'static str = "shipping";

    async fn react(
        &self,
        (order, event): Self::Feed,
        reaction: &mut Reaction<'_, S>,
    ) -> Result<(), Self::Error> {
        if event != OrderEvent::Paid {
            return Ok(());
        }
        match reaction.execute(Ship { order }).await {
            // If someone shipped it by hand, there is nothing left to do.
            Ok(_) | Err(CommandError::BusinessRuleViolation(ShipError::AlreadyShipped)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn run(store: SqliteEventStore) -> Result<(), Box<dyn std::error::Error>> {
    let shipping = ProjectionRunner::automation(store, ShipPaidOrders).start();
    // …
    shipping.stop().await?;
    Ok(())
}

/// A command that pays an order.
#[derive(Debug, Command)]
struct Pay {
    #[stream]
    order: OrderId,
}

impl CommandLogic for Pay {
    type State = ();
    type Error = std::convert::Infallible;

    fn handle(&self, (): &(), streams: PayStreams<'_>) -> Result<(), Self::Error> {
        streams.order.append(OrderEvent::Placed);
        streams.order.append(OrderEvent::Paid);
        Ok(())
    }
}

#[tokio::test]
async fn a_paid_order_is_shipped_once() {
    use eventcore::{EventFilter, Position, RetryPolicy, execute, projection::subscribe};
    use futures_util::StreamExt;

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(folder.path().join("shop.db"))
        .await
        .unwrap();
    let pay = |order| Pay {
        order: OrderId(order),
    };
    execute(&store, pay(1), RetryPolicy::new()).await.unwrap();
    let ship = Ship { order: OrderId(1) };
    execute(&store, ship, RetryPolicy::new()).await.unwrap();
    execute(&store, pay(2), RetryPolicy::new()).await.unwrap();
    let shipping = ProjectionRunner::automation(store.clone(), ShipPaidOrders).start();
    let events: Vec<_> = subscribe(&store, Position::START, EventFilter::All)
        .take(6)
        .map(|event| event.unwrap())
        .collect()
        .await;
    shipping.stop().await.unwrap();
    run(store.clone()).await.unwrap();
    let shipped: Vec<_> = events
        .iter()
        .filter(|event| *event.type_name == *"OrderShipped")
        .map(|event| event.stream.as_str())
        .collect();
    assert_eq!(shipped, ["order-1", "order-2"]);
    let (paid, by_automation) = (&events[4], &events[5]);
    let cause = paid.event_id.to_string();
    assert_eq!(by_automation.metadata.causation_id, Some(cause));
    let status = eventcore::projection::status(&store, &store, "shipping")
        .await
        .unwrap();
    assert_eq!(status.head, by_automation.position);
}
