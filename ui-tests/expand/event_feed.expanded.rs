//! The expansion of the derives in `event_feed.rs`.

#[allow(deprecated)]
const _: () = {
    ::core::assert!(
        ::eventcore::__private::contains(< OrderId as
        ::eventcore::projection::codegen::FeedKey < OrderEvent > > ::TYPE_NAMES,
        "OrderPlaced"),
        "`OrderPlaced` is no stored name of the events of `Order`; see `TYPE_NAMES` of its event type for those that are"
    );
    ::core::assert!(
        ::eventcore::__private::contains(< OrderId as
        ::eventcore::projection::codegen::FeedKey < OrderEvent > > ::TYPE_NAMES,
        "order.cancelled"),
        "`order.cancelled` is no stored name of the events of `Order`; see `TYPE_NAMES` of its event type for those that are"
    );
    ::core::assert!(
        ::eventcore::__private::are_distinct(& [< AccountId as
        ::eventcore::projection::codegen::FeedKey < AccountEvent > > ::CATEGORY, <
        OrderId as ::eventcore::projection::codegen::FeedKey < OrderEvent > >
        ::CATEGORY]),
        "two variants of `Ledger` have keys of one category; make it one variant with one key type, and match on the event instead"
    );
};
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::EventFeed for Ledger {
    fn filter() -> ::eventcore::EventFilter {
        ::eventcore::EventFilter::any_of([
            ::eventcore::EventSelector::category(
                <AccountId as ::eventcore::projection::codegen::FeedKey<
                    AccountEvent,
                >>::CATEGORY,
            ),
            ::eventcore::EventSelector::event_type(
                ::eventcore::EventSelector::category(
                    <OrderId as ::eventcore::projection::codegen::FeedKey<
                        OrderEvent,
                    >>::CATEGORY,
                ),
                "OrderPlaced",
            ),
            ::eventcore::EventSelector::event_type(
                ::eventcore::EventSelector::category(
                    <OrderId as ::eventcore::projection::codegen::FeedKey<
                        OrderEvent,
                    >>::CATEGORY,
                ),
                "order.cancelled",
            ),
        ])
    }
    fn decode(
        event: &::eventcore::RecordedEvent,
    ) -> ::core::result::Result<Self, ::eventcore::projection::FeedError> {
        match ::eventcore::StreamId::category(&event.stream) {
            category if category
                == <AccountId as ::eventcore::projection::codegen::FeedKey<
                    AccountEvent,
                >>::CATEGORY => {
                ::core::result::Result::map(
                    <AccountId as ::eventcore::projection::codegen::FeedKey<
                        AccountEvent,
                    >>::keyed(event),
                    |(key, event)| Self::Account(key, event),
                )
            }
            category if category
                == <OrderId as ::eventcore::projection::codegen::FeedKey<
                    OrderEvent,
                >>::CATEGORY => {
                ::core::result::Result::map(
                    <OrderId as ::eventcore::projection::codegen::FeedKey<
                        OrderEvent,
                    >>::keyed(event),
                    |(key, event)| Self::Order(key, event),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    ::eventcore::projection::FeedError::not_in_feed(event),
                )
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<K: StreamKey> my::eventcore::EventFeed for Only<K> {
    fn filter() -> my::eventcore::EventFilter {
        my::eventcore::EventFilter::any_of([
            my::eventcore::EventSelector::category(
                <K as my::eventcore::projection::codegen::FeedKey<K::Event>>::CATEGORY,
            ),
        ])
    }
    fn decode(
        event: &my::eventcore::RecordedEvent,
    ) -> ::core::result::Result<Self, my::eventcore::projection::FeedError> {
        match my::eventcore::StreamId::category(&event.stream) {
            category if category
                == <K as my::eventcore::projection::codegen::FeedKey<
                    K::Event,
                >>::CATEGORY => {
                ::core::result::Result::map(
                    <K as my::eventcore::projection::codegen::FeedKey<
                        K::Event,
                    >>::keyed(event),
                    |(key, event)| Self::One(key, event),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    my::eventcore::projection::FeedError::not_in_feed(event),
                )
            }
        }
    }
}
