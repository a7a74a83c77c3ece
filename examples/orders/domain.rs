//! A shop's rules: stock, prices, coupons, payments and orders. Nothing here knows where events are kept.

use std::collections::HashMap;

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamResolver, StreamState, require};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum OrderEvent {
    Placed {
        customer: CustomerId,
        cents: u64,
        paid_with: PaymentId,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum StockEvent {
    Received { units: u64 },
    Reserved { order: OrderId, units: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum CouponEvent {
    Issued { percent: u64 },
    Redeemed { order: OrderId },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum CustomerEvent {
    PaymentChosen { payment: PaymentId },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum PaymentEvent {
    Authorized { cents: u64 },
    Charged { order: OrderId, cents: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum PriceEvent {
    Set { sku: Sku, cents: u64 },
}

macro_rules! key {
    ($name:ident, $category:literal, $event:ident, $state:ident) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, StreamKey)]
        #[stream_key(category = $category, event = $event, state = $state, traits(Display, From))]
        pub struct $name(pub String);
    };
}

key!(OrderId, "order", OrderEvent, Order);
key!(Sku, "stock", StockEvent, Stock);
key!(CouponId, "coupon", CouponEvent, Coupon);
key!(CustomerId, "customer", CustomerEvent, Customer);
key!(PaymentId, "payment", PaymentEvent, Payment);
key!(PriceListId, "prices", PriceEvent, Prices);

#[derive(Debug, Default)]
pub struct Order {
    is_placed: bool,
}

impl StreamState<OrderEvent> for Order {
    fn apply(&mut self, _: OrderEvent) {
        self.is_placed = true;
    }
}

#[derive(Debug, Default)]
pub struct Stock {
    left: u64,
}

impl StreamState<StockEvent> for Stock {
    fn apply(&mut self, event: StockEvent) {
        match event {
            StockEvent::Received { units } => self.left += units,
            StockEvent::Reserved { units, .. } => self.left -= units,
        }
    }
}

#[derive(Debug, Default)]
pub struct Coupon {
    percent_off: Option<u64>,
    used_by: Option<OrderId>,
}

impl StreamState<CouponEvent> for Coupon {
    fn apply(&mut self, event: CouponEvent) {
        match event {
            CouponEvent::Issued { percent } => self.percent_off = Some(percent),
            CouponEvent::Redeemed { order } => self.used_by = Some(order),
        }
    }
}

#[derive(Debug, Default)]
pub struct Customer {
    payment: Option<PaymentId>,
}

impl StreamState<CustomerEvent> for Customer {
    fn apply(&mut self, CustomerEvent::PaymentChosen { payment }: CustomerEvent) {
        self.payment = Some(payment);
    }
}

#[derive(Debug, Default)]
pub struct Payment {
    left: u64,
}

impl StreamState<PaymentEvent> for Payment {
    fn apply(&mut self, event: PaymentEvent) {
        match event {
            PaymentEvent::Authorized { cents } => self.left += cents,
            PaymentEvent::Charged { cents, .. } => self.left -= cents,
        }
    }
}

#[derive(Debug, Default)]
pub struct Prices {
    cents: HashMap<Sku, u64>,
}

impl StreamState<PriceEvent> for Prices {
    fn apply(&mut self, PriceEvent::Set { sku, cents }: PriceEvent) {
        self.cents.insert(sku, cents);
    }
}

/// Orders `units` of each of `lines`, all of them or none, and charges the customer's payment method.
#[derive(Debug, Command)]
#[command(discovers(payment: Option<PaymentId>))]
pub struct PlaceOrder {
    #[stream]
    order: OrderId,
    #[stream(read)]
    customer: CustomerId,
    #[stream]
    lines: Vec<Sku>,
    #[stream]
    coupon: Option<CouponId>,
    #[stream(read)]
    prices: PriceListId,
    /// The quantity of each line, in the order of `lines`.
    units: Vec<u64>,
}

impl PlaceOrder {
    pub fn new(order: &str, customer: &str, lines: &[(&str, u64)], coupon: Option<&str>) -> Self {
        Self {
            order: order.into(),
            customer: customer.into(),
            lines: lines.iter().map(|(sku, _)| Sku::from(*sku)).collect(),
            coupon: coupon.map(CouponId::from),
            prices: "list".into(),
            units: lines.iter().map(|(_, units)| *units).collect(),
        }
    }
}

/// A refusal of an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    #[error("order {0} was placed before")]
    AlreadyPlaced(OrderId),
    #[error("an order needs at least one line, and each line at least one unit")]
    Empty,
    #[error("{0} has no price")]
    NoPrice(Sku),
    #[error("only {left} of {sku} left")]
    OutOfStock { sku: Sku, left: u64 },
    #[error("there is no coupon {0}")]
    NoSuchCoupon(CouponId),
    #[error("coupon {coupon} was used for order {by}")]
    CouponUsed { coupon: CouponId, by: OrderId },
    #[error("{0} has chosen no payment method")]
    NoPaymentMethod(CustomerId),
    #[error("{cents} cents are more than the {left} left on {payment}")]
    Declined {
        payment: PaymentId,
        cents: u64,
        left: u64,
    },
    #[error("the total is too large")]
    TooMuch,
}

impl CommandLogic for PlaceOrder {
    type State = ();
    type Error = OrderError;

    fn handle(&self, (): &(), streams: PlaceOrderStreams<'_>) -> Result<(), OrderError> {
        let order = self.order.clone();
        let placed = streams.order.is_placed;
        require!(!placed, OrderError::AlreadyPlaced(order));
        let cents = self.total(&streams)?;
        let no_payment = || OrderError::NoPaymentMethod(self.customer.clone());
        let payment = streams.payment.ok_or_else(no_payment)?;
        let (paid_with, left) = (payment.key().clone(), payment.left);
        if cents > left {
            let payment = paid_with;
            return Err(OrderError::Declined {
                payment,
                cents,
                left,
            });
        }

        for ((_, line), &units) in streams.lines.iter().zip(&self.units) {
            let order = order.clone();
            line.append(StockEvent::Reserved { order, units });
        }
        if let Some(coupon) = streams.coupon {
            let order = order.clone();
            coupon.append(CouponEvent::Redeemed { order });
        }
        payment.append(PaymentEvent::Charged { order, cents });
        let customer = self.customer.clone();
        streams.order.append(OrderEvent::Placed {
            customer,
            cents,
            paid_with,
        });
        Ok(())
    }
}

impl StreamResolver for PlaceOrder {
    fn discover_related_streams(
        &self,
        (): &(),
        streams: PlaceOrderKnownStreams<'_>,
    ) -> PlaceOrderDiscovered {
        PlaceOrderDiscovered {
            payment: streams.customer.payment.clone(),
        }
    }
}

impl PlaceOrder {
    /// Returns the price of the order, if all of it is available.
    fn total(&self, streams: &PlaceOrderStreams<'_>) -> Result<u64, OrderError> {
        require!(
            !self.lines.is_empty() && !self.units.contains(&0),
            OrderError::Empty
        );
        let mut total = 0_u64;
        for ((sku, stock), &units) in streams.lines.iter().zip(&self.units) {
            let (sku, left) = (sku.clone(), stock.left);
            let Some(price) = streams.prices.cents.get(&sku) else {
                return Err(OrderError::NoPrice(sku));
            };
            require!(units <= left, OrderError::OutOfStock { sku, left });
            let line = price.checked_mul(units).ok_or(OrderError::TooMuch)?;
            total = total.checked_add(line).ok_or(OrderError::TooMuch)?;
        }
        let Some(coupon) = &streams.coupon else {
            return Ok(total);
        };
        let id = coupon.key().clone();
        let Some(percent) = coupon.percent_off else {
            return Err(OrderError::NoSuchCoupon(id));
        };
        if let Some(by) = coupon.used_by.clone() {
            return Err(OrderError::CouponUsed { coupon: id, by });
        }
        let percent = percent.min(100);
        let off = total.checked_mul(percent).ok_or(OrderError::TooMuch)? / 100;
        Ok(total - off)
    }
}

/// Records events from outside, such as deliveries. One command for all kinds of streams.
#[derive(Debug, Command)]
pub struct Record<K: StreamKey> {
    #[stream]
    pub stream: K,
    pub events: Vec<K::Event>,
}

impl<K: StreamKey> CommandLogic for Record<K>
where
    K::Event: Clone,
{
    type State = ();
    type Error = OrderError;

    fn handle(&self, (): &(), streams: RecordStreams<'_, K>) -> Result<(), OrderError> {
        for event in self.events.iter().cloned() {
            streams.stream.append(event);
        }
        Ok(())
    }
}
