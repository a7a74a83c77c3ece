//! The expansion of the derives in `checkout.rs`.

/// The streams of [`Checkout`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
pub struct CheckoutStreams<'a> {
    /// The order.
    pub order: ::eventcore::command::FieldHandle<'a, OrderId>,
    pub(crate) lines: ::eventcore::command::FieldHandle<'a, Vec<Sku>>,
    coupon: ::eventcore::command::FieldHandle<
        'a,
        Option<CouponId>,
        ::eventcore::command::ReadOnly,
    >,
    /// The slot `payment`.
    pub payment: ::eventcore::command::FieldHandle<'a, Option<PaymentId>>,
    /// The slot `prices`.
    pub prices: ::eventcore::command::FieldHandle<
        'a,
        Vec<PriceListId>,
        ::eventcore::command::ReadOnly,
    >,
}
/// An event from one of the streams of [`Checkout`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
pub enum CheckoutEvent<'a> {
    /// From the stream of `order`.
    Order(::eventcore::command::FieldEvent<'a, OrderId>),
    /// From the stream of `lines`.
    Lines(::eventcore::command::FieldEvent<'a, Vec<Sku>>),
    /// From the stream of `coupon`.
    Coupon(::eventcore::command::FieldEvent<'a, Option<CouponId>>),
    /// From the stream of `payment`.
    Payment(::eventcore::command::FieldEvent<'a, Option<PaymentId>>),
    /// From the stream of `prices`.
    Prices(::eventcore::command::FieldEvent<'a, Vec<PriceListId>>),
}
/// The streams that [`Checkout`] finds from its state.
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
pub struct CheckoutDiscovered {
    /// The slot `payment`.
    pub payment: Option<PaymentId>,
    /// The slot `prices`.
    pub prices: Vec<PriceListId>,
}
#[automatically_derived]
#[allow(deprecated)]
impl ::core::default::Default for CheckoutDiscovered {
    fn default() -> Self {
        Self {
            payment: ::eventcore::command::empty_slot(),
            prices: ::eventcore::command::empty_slot(),
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Checkout {
    type Streams<'a> = CheckoutStreams<'a> where Self: 'a;
    type Event<'a> = CheckoutEvent<'a> where Self: 'a;
    type Discovered = CheckoutDiscovered;
    const DISCOVERS: bool = true;
    fn declare(&self, streams: &mut ::eventcore::command::Declarations) {
        ::eventcore::command::Declarations::declare(streams, "order", &self.order);
        ::eventcore::command::Declarations::declare(streams, "lines", &self.lines);
        ::eventcore::command::Declarations::declare_read_only(
            streams,
            "coupon",
            &self.coupon,
        );
    }
    fn declare_discovered(
        discovered: &CheckoutDiscovered,
        streams: &mut ::eventcore::command::Declarations,
    ) {
        ::eventcore::command::Declarations::declare(
            streams,
            "payment",
            &discovered.payment,
        );
        ::eventcore::command::Declarations::declare_read_only(
            streams,
            "prices",
            &discovered.prices,
        );
    }
    fn discover(
        &self,
        state: &<Self as ::eventcore::CommandLogic>::State,
    ) -> ::core::option::Option<Self::Discovered>
    where
        Self: ::eventcore::CommandLogic,
    {
        ::core::option::Option::Some(
            ::eventcore::StreamResolver::discover_related_streams(self, state),
        )
    }
    fn streams<'a>(
        &'a self,
        discovered: &'a CheckoutDiscovered,
        handles: &mut ::eventcore::command::Handles<'a>,
    ) -> CheckoutStreams<'a> {
        CheckoutStreams {
            order: ::eventcore::command::Handles::next(handles, "order", &self.order),
            lines: ::eventcore::command::Handles::next(handles, "lines", &self.lines),
            coupon: ::eventcore::command::Handles::next(handles, "coupon", &self.coupon),
            payment: ::eventcore::command::Handles::next(
                handles,
                "payment",
                &discovered.payment,
            ),
            prices: ::eventcore::command::Handles::next(
                handles,
                "prices",
                &discovered.prices,
            ),
        }
    }
    fn event<'a>(
        &'a self,
        discovered: &'a CheckoutDiscovered,
        event: ::eventcore::command::FieldRecord<'a>,
    ) -> ::core::result::Result<CheckoutEvent<'a>, ::eventcore::DecodeError> {
        match ::eventcore::command::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Order(
                        ::eventcore::command::FieldRecord::decode(event, &self.order)?,
                    ),
                )
            }
            1 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Lines(
                        ::eventcore::command::FieldRecord::decode(event, &self.lines)?,
                    ),
                )
            }
            2 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Coupon(
                        ::eventcore::command::FieldRecord::decode(event, &self.coupon)?,
                    ),
                )
            }
            3 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Payment(
                        ::eventcore::command::FieldRecord::decode(
                            event,
                            &discovered.payment,
                        )?,
                    ),
                )
            }
            4 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Prices(
                        ::eventcore::command::FieldRecord::decode(
                            event,
                            &discovered.prices,
                        )?,
                    ),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    ::eventcore::command::FieldRecord::undeclared(&event),
                )
            }
        }
    }
}
