//! Any number of streams, and streams that are found from the state.

/// Orders what is in the cart.
#[derive(Debug, Command)]
#[command(discovers(payment: Option<PaymentId>, #[stream(read)] prices: Vec<PriceListId>))]
pub struct Checkout {
    /// The order.
    #[stream]
    pub order: OrderId,
    #[stream]
    pub(crate) lines: Vec<Sku>,
    #[stream(read)]
    coupon: Option<CouponId>,
}
