//! The expansion of the derives in `checkout.rs`.

/// The streams of [`Checkout`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
pub struct CheckoutStreams<'a> {
    /// The order.
    pub order: ::eventcore::command::codegen::FieldHandle<'a, OrderId>,
    pub(crate) lines: ::eventcore::command::codegen::FieldHandle<'a, Vec<Sku>>,
    coupon: ::eventcore::command::codegen::FieldHandle<
        'a,
        Option<CouponId>,
        ::eventcore::command::ReadOnly,
    >,
    /// The slot `payment`.
    pub payment: ::eventcore::command::codegen::FieldHandle<'a, Option<PaymentId>>,
    /// The slot `prices`.
    pub prices: ::eventcore::command::codegen::FieldHandle<
        'a,
        Vec<PriceListId>,
        ::eventcore::command::ReadOnly,
    >,
}
/// An event from one of the streams of [`Checkout`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
pub enum CheckoutEvent<'a> {
    /// From the stream of `order`.
    Order(::eventcore::command::codegen::FieldEvent<'a, OrderId>),
    /// From the stream of `lines`.
    Lines(::eventcore::command::codegen::FieldEvent<'a, Vec<Sku>>),
    /// From the stream of `coupon`.
    Coupon(::eventcore::command::codegen::FieldEvent<'a, Option<CouponId>>),
    /// From the stream of `payment`.
    Payment(::eventcore::command::codegen::FieldEvent<'a, Option<PaymentId>>),
    /// From the stream of `prices`.
    Prices(::eventcore::command::codegen::FieldEvent<'a, Vec<PriceListId>>),
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
            payment: ::eventcore::command::codegen::empty_slot(),
            prices: ::eventcore::command::codegen::empty_slot(),
        }
    }
}
/// The streams of [`Checkout`] that are known so far, for its `StreamResolver`.
#[allow(dead_code, deprecated, missing_debug_implementations)]
pub struct CheckoutKnownStreams<'a> {
    /// The order.
    pub order: ::eventcore::command::codegen::FieldHandle<
        'a,
        OrderId,
        ::eventcore::command::ReadOnly,
    >,
    pub(crate) lines: ::eventcore::command::codegen::FieldHandle<
        'a,
        Vec<Sku>,
        ::eventcore::command::ReadOnly,
    >,
    coupon: ::eventcore::command::codegen::FieldHandle<
        'a,
        Option<CouponId>,
        ::eventcore::command::ReadOnly,
    >,
    /// The slot `payment`.
    pub payment: ::eventcore::command::codegen::FieldHandle<
        'a,
        Option<PaymentId>,
        ::eventcore::command::ReadOnly,
    >,
    /// The slot `prices`.
    pub prices: ::eventcore::command::codegen::FieldHandle<
        'a,
        Vec<PriceListId>,
        ::eventcore::command::ReadOnly,
    >,
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Checkout {
    type Streams<'a> = CheckoutStreams<'a> where Self: 'a;
    type Event<'a> = CheckoutEvent<'a> where Self: 'a;
    type Discovered = CheckoutDiscovered;
    type KnownStreams<'a> = CheckoutKnownStreams<'a> where Self: 'a;
    const DISCOVERS: bool = true;
    fn declare(&self, streams: &mut ::eventcore::command::codegen::Declarations) {
        ::eventcore::command::codegen::Declarations::declare(
            streams,
            "order",
            &self.order,
        );
        ::eventcore::command::codegen::Declarations::declare(
            streams,
            "lines",
            &self.lines,
        );
        ::eventcore::command::codegen::Declarations::declare_read_only(
            streams,
            "coupon",
            &self.coupon,
        );
    }
    fn declare_discovered(
        discovered: &CheckoutDiscovered,
        streams: &mut ::eventcore::command::codegen::Declarations,
    ) {
        ::eventcore::command::codegen::Declarations::declare(
            streams,
            "payment",
            &discovered.payment,
        );
        ::eventcore::command::codegen::Declarations::declare_read_only(
            streams,
            "prices",
            &discovered.prices,
        );
    }
    fn known_streams<'a>(
        &'a self,
        discovered: &'a CheckoutDiscovered,
        handles: &mut ::eventcore::command::codegen::Handles<'a>,
    ) -> ::core::option::Option<CheckoutKnownStreams<'a>> {
        ::core::option::Option::Some(CheckoutKnownStreams {
            order: ::eventcore::command::codegen::Handles::next(
                handles,
                "order",
                &self.order,
            ),
            lines: ::eventcore::command::codegen::Handles::next(
                handles,
                "lines",
                &self.lines,
            ),
            coupon: ::eventcore::command::codegen::Handles::next(
                handles,
                "coupon",
                &self.coupon,
            ),
            payment: ::eventcore::command::codegen::Handles::next(
                handles,
                "payment",
                &discovered.payment,
            ),
            prices: ::eventcore::command::codegen::Handles::next(
                handles,
                "prices",
                &discovered.prices,
            ),
        })
    }
    fn discover<'a>(
        &'a self,
        state: &<Self as ::eventcore::CommandLogic>::State,
        streams: Self::KnownStreams<'a>,
    ) -> Self::Discovered
    where
        Self: ::eventcore::CommandLogic,
    {
        ::eventcore::StreamResolver::discover_related_streams(self, state, streams)
    }
    fn streams<'a>(
        &'a self,
        discovered: &'a CheckoutDiscovered,
        handles: &mut ::eventcore::command::codegen::Handles<'a>,
    ) -> CheckoutStreams<'a> {
        CheckoutStreams {
            order: ::eventcore::command::codegen::Handles::next(
                handles,
                "order",
                &self.order,
            ),
            lines: ::eventcore::command::codegen::Handles::next(
                handles,
                "lines",
                &self.lines,
            ),
            coupon: ::eventcore::command::codegen::Handles::next(
                handles,
                "coupon",
                &self.coupon,
            ),
            payment: ::eventcore::command::codegen::Handles::next(
                handles,
                "payment",
                &discovered.payment,
            ),
            prices: ::eventcore::command::codegen::Handles::next(
                handles,
                "prices",
                &discovered.prices,
            ),
        }
    }
    fn event<'a>(
        &'a self,
        discovered: &'a CheckoutDiscovered,
        event: ::eventcore::command::codegen::FieldRecord<'a>,
    ) -> ::core::result::Result<CheckoutEvent<'a>, ::eventcore::DecodeError> {
        match ::eventcore::command::codegen::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Order(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.order,
                        )?,
                    ),
                )
            }
            1 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Lines(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.lines,
                        )?,
                    ),
                )
            }
            2 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Coupon(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.coupon,
                        )?,
                    ),
                )
            }
            3 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Payment(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &discovered.payment,
                        )?,
                    ),
                )
            }
            4 => {
                ::core::result::Result::Ok(
                    CheckoutEvent::Prices(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &discovered.prices,
                        )?,
                    ),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    ::eventcore::command::codegen::FieldRecord::undeclared(&event),
                )
            }
        }
    }
}
