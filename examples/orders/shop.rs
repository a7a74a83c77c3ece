//! The shop on a store: records stock, prices and payments, and places orders.

use std::{error::Error, sync::Arc};

use eventcore::{
    CommandError, EventFilter, EventStore, ExecutionResponse, Position, RetryPolicy, StreamKey,
    execute,
    store::{MAX_PAGE_EVENTS, ReadFeedRequest},
};

use crate::domain::{
    CouponEvent, CouponId, CustomerEvent, CustomerId, OrderError, PaymentEvent, PaymentId,
    PlaceOrder, PriceEvent, PriceListId, Record, Sku, StockEvent,
};

pub type Outcome = Result<ExecutionResponse, CommandError<OrderError>>;

pub struct Shop {
    store: Arc<dyn EventStore>,
}

impl Shop {
    /// Creates a shop with some stock, prices, a coupon, and a customer who can pay.
    pub async fn new(store: Arc<dyn EventStore>) -> Result<Self, Box<dyn Error>> {
        let shop = Self { store };
        if !shop.log().await?.is_empty() {
            return Err("there is a shop already: the story is told once in each database".into());
        }
        let price = |sku, cents| PriceEvent::Set {
            sku: Sku::from(sku),
            cents,
        };
        shop.record(
            PriceListId::from("list"),
            vec![price("lamp", 4_000), price("desk", 15_000)],
        )
        .await?;
        shop.record(Sku::from("lamp"), vec![StockEvent::Received { units: 5 }])
            .await?;
        shop.record(Sku::from("desk"), vec![StockEvent::Received { units: 2 }])
            .await?;
        shop.record(
            CouponId::from("ten"),
            vec![CouponEvent::Issued { percent: 10 }],
        )
        .await?;
        shop.choose_payment("ada", "card", 30_000).await?;
        Ok(shop)
    }

    pub async fn choose_payment(&self, customer: &str, payment: &str, cents: u64) -> Outcome {
        self.record(
            PaymentId::from(payment),
            vec![PaymentEvent::Authorized { cents }],
        )
        .await?;
        let chosen = CustomerEvent::PaymentChosen {
            payment: payment.into(),
        };
        self.record(CustomerId::from(customer), vec![chosen]).await
    }

    pub async fn place(&self, order: PlaceOrder) -> Outcome {
        execute(&self.store, order, RetryPolicy::new()).await
    }

    async fn record<K: StreamKey>(&self, stream: K, events: Vec<K::Event>) -> Outcome
    where
        K::Event: Clone,
    {
        execute(&self.store, Record { stream, events }, RetryPolicy::new()).await
    }

    /// Returns all events, one line each.
    pub async fn log(&self) -> Result<Vec<String>, Box<dyn Error>> {
        let mut lines = Vec::new();
        let mut after = Position::START;
        loop {
            let events = self
                .store
                .read_feed(ReadFeedRequest {
                    after,
                    filter: EventFilter::All,
                    limit: MAX_PAGE_EVENTS,
                })
                .await?
                .events;
            let Some(last) = events.last() else {
                return Ok(lines);
            };
            after = last.position;
            for event in events {
                let payload = str::from_utf8(&event.payload)?;
                lines.push(format!(
                    "{:>4}  {:<16} {:<22} {payload}",
                    event.position,
                    event.stream.as_str(),
                    event.type_name
                ));
            }
        }
    }
}
