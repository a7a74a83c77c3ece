//! A shop's rules: stock, prices, coupons, payments and orders. Nothing here knows where events are kept.

use std::{collections::HashMap, fmt};

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamResolver, require};
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
    ($name:ident, $category:literal, $event:ident) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, StreamKey)]
        #[stream_key(category = $category, event = $event)]
        pub struct $name(pub String);

        impl From<&str> for $name {
            fn from(key: &str) -> Self {
                Self(key.to_owned())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

key!(OrderId, "order", OrderEvent);
key!(Sku, "stock", StockEvent);
key!(CouponId, "coupon", CouponEvent);
key!(CustomerId, "customer", CustomerEvent);
key!(PaymentId, "payment", PaymentEvent);
key!(PriceListId, "prices", PriceEvent);

/// Orders `units` of each of `lines`, all or none of them, and charges the payment method that the customer has chosen.
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

/// The state of an order's streams.
#[derive(Debug, Default)]
pub struct Shop {
    placed: bool,
    payment: Option<PaymentId>,
    payment_left: u64,
    stock: HashMap<Sku, u64>,
    prices: HashMap<Sku, u64>,
    percent_off: Option<u64>,
    coupon_used_by: Option<OrderId>,
}

impl CommandLogic for PlaceOrder {
    type State = Shop;
    type Error = OrderError;

    fn apply(&self, shop: &mut Shop, event: PlaceOrderEvent<'_>) {
        match event {
            PlaceOrderEvent::Order(OrderEvent::Placed { .. }) => shop.placed = true,
            PlaceOrderEvent::Customer(CustomerEvent::PaymentChosen { payment }) => {
                shop.payment = Some(payment);
            }
            PlaceOrderEvent::Lines((sku, StockEvent::Received { units })) => {
                *shop.stock.entry(sku.clone()).or_default() += units;
            }
            PlaceOrderEvent::Lines((sku, StockEvent::Reserved { units, .. })) => {
                *shop.stock.entry(sku.clone()).or_default() -= units;
            }
            PlaceOrderEvent::Coupon(CouponEvent::Issued { percent }) => {
                shop.percent_off = Some(percent);
            }
            PlaceOrderEvent::Coupon(CouponEvent::Redeemed { order }) => {
                shop.coupon_used_by = Some(order);
            }
            PlaceOrderEvent::Prices(PriceEvent::Set { sku, cents }) => {
                shop.prices.insert(sku, cents);
            }
            PlaceOrderEvent::Payment(PaymentEvent::Authorized { cents }) => {
                shop.payment_left += cents;
            }
            PlaceOrderEvent::Payment(PaymentEvent::Charged { cents, .. }) => {
                shop.payment_left -= cents;
            }
        }
    }

    fn handle(&self, shop: &Shop, streams: PlaceOrderStreams<'_>) -> Result<(), OrderError> {
        let order = &self.order;
        require!(!shop.placed, OrderError::AlreadyPlaced(order.clone()));
        let cents = self.total(shop)?;
        let (Some(payment), Some(charged)) = (&shop.payment, streams.payment) else {
            return Err(OrderError::NoPaymentMethod(self.customer.clone()));
        };
        let left = shop.payment_left;
        require!(
            cents <= left,
            OrderError::Declined {
                payment: payment.clone(),
                cents,
                left
            }
        );

        for ((_, line), units) in streams.lines.into_iter().zip(&self.units) {
            line.append(StockEvent::Reserved {
                order: order.clone(),
                units: *units,
            });
        }
        if let Some(coupon) = streams.coupon {
            coupon.append(CouponEvent::Redeemed {
                order: order.clone(),
            });
        }
        charged.append(PaymentEvent::Charged {
            order: order.clone(),
            cents,
        });
        let (customer, paid_with) = (self.customer.clone(), payment.clone());
        streams.order.append(OrderEvent::Placed {
            customer,
            cents,
            paid_with,
        });
        Ok(())
    }
}

impl StreamResolver for PlaceOrder {
    fn discover_related_streams(&self, shop: &Shop) -> PlaceOrderDiscovered {
        PlaceOrderDiscovered {
            payment: shop.payment.clone(),
        }
    }
}

impl PlaceOrder {
    /// Returns the price of the order, if all of it is available.
    fn total(&self, shop: &Shop) -> Result<u64, OrderError> {
        require!(
            !self.lines.is_empty() && !self.units.contains(&0),
            OrderError::Empty
        );
        let mut total = 0_u64;
        for (sku, units) in self.lines.iter().zip(&self.units) {
            let price = shop
                .prices
                .get(sku)
                .ok_or_else(|| OrderError::NoPrice(sku.clone()))?;
            let left = shop.stock.get(sku).copied().unwrap_or_default();
            require!(
                *units <= left,
                OrderError::OutOfStock {
                    sku: sku.clone(),
                    left
                }
            );
            let line = price.checked_mul(*units).ok_or(OrderError::TooMuch)?;
            total = total.checked_add(line).ok_or(OrderError::TooMuch)?;
        }
        let Some(coupon) = &self.coupon else {
            return Ok(total);
        };
        let percent = shop
            .percent_off
            .ok_or_else(|| OrderError::NoSuchCoupon(coupon.clone()))?;
        if let Some(by) = shop.coupon_used_by.clone() {
            return Err(OrderError::CouponUsed {
                coupon: coupon.clone(),
                by,
            });
        }
        let off = total
            .checked_mul(percent.min(100))
            .ok_or(OrderError::TooMuch)?
            / 100;
        Ok(total - off)
    }
}

/// Writes down events as they are; for what the shop is told from outside. One command for all kinds of streams.
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

    fn apply(&self, (): &mut (), _: RecordEvent<'_, K>) {}

    fn handle(&self, (): &(), streams: RecordStreams<'_, K>) -> Result<(), OrderError> {
        for event in self.events.iter().cloned() {
            streams.stream.append(event);
        }
        Ok(())
    }
}
