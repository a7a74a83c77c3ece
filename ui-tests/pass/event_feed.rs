//! Feeds in every form: narrowed, generic, with a hand-written key, without the prelude's names.

#![no_implicit_prelude]

use ::eventcore::{
    EventFilter, EventSelector, StreamKey,
    EventFeed, projection::{FeedError},
};
use ::std::{assert_eq, string::String};
use ::ui_tests::{AccountEvent, AccountId, LimitsEvent, OrderEvent, OrderId};

type Order = OrderId;

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent),
    #[event_feed(only("OrderPlaced"))]
    Order(Order, <OrderId as StreamKey>::Event),
    r#Limits(ByHand, LimitsEvent),
}

struct ByHand(String);

impl StreamKey for ByHand {
    type State = ();
    type Event = LimitsEvent;
    const CATEGORY: &'static str = "limits";

    fn key(&self) -> impl ::std::fmt::Display {
        &self.0
    }

    fn parse_key(key: &str) -> ::std::result::Result<Self, String> {
        ::std::result::Result::Ok(Self(::std::string::ToString::to_string(key)))
    }
}

#[derive(EventFeed)]
pub enum Two<K: StreamKey, L>
where
    L: StreamKey,
{
    First(K, K::Event),
    #[event_feed(only("OrderPlaced",))]
    Second(L, L::Event),
}

/// As where `eventcore` has another name.
mod renamed {
    use ::ui_tests::{AccountEvent, AccountId};
    mod my {
        pub use ::eventcore as events;
    }

    #[derive(::eventcore::EventFeed)]
    #[event_feed(crate = my::events)]
    pub enum Accounts {
        Account(AccountId, AccountEvent),
    }
}

fn is_a_feed<F: EventFeed>() -> fn(&::eventcore::RecordedEvent) -> ::std::result::Result<F, FeedError> {
    F::decode
}

fn main() {
    assert_eq!(
        Ledger::filter(),
        EventFilter::any_of([
            EventSelector::category("account"),
            EventSelector::category("order").event_type("OrderPlaced"),
            EventSelector::category("limits"),
        ])
    );
    assert_eq!(
        <Two<AccountId, OrderId>>::filter(),
        EventFilter::any_of([
            EventSelector::category("account"),
            EventSelector::category("order").event_type("OrderPlaced"),
        ])
    );
    assert_eq!(
        renamed::Accounts::filter(),
        EventFilter::any_of([EventSelector::category("account")])
    );
    is_a_feed::<Ledger>();
    is_a_feed::<Two<AccountId, OrderId>>();
}
