//! The states of streams in every kind of field, and what a key can do with one.

use std::fmt::Display;

use eventcore::{
    Command, CommandLogic, RetryPolicy, StreamId, StreamKey, StreamResolver, StreamState, execute, load,
    memory::MemoryEventStore,
};
use serde::{Deserialize, Serialize};
use ui_tests::*;

/// Copied, and kept in snapshots.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Count {
    events: u64,
}

impl<E> StreamState<E> for Count {
    fn apply(&mut self, _: E) {
        self.events += 1;
    }
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(
    category = "order",
    event = OrderEvent,
    state = Count,
    snapshot(revision = 1, every = 100, name = "Counted"),
    traits(Display, FromStr, From)
)]
struct MyOrderId(String);

#[derive(StreamKey)]
#[stream_key(category = "limits", event = LimitsEvent, state = self::nested::Of<u8>, snapshot(revision = 2), traits(From))]
struct MyLimitsId {
    number: u64,
}

mod nested {
    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    pub struct Of<T>(pub T);

    impl StreamState<LimitsEvent> for Of<u8> {
        fn apply(&mut self, LimitsEvent::Set { .. }: LimitsEvent) {
            self.0 += 1;
        }
    }
}

/// A key of any state.
#[derive(StreamKey)]
#[stream_key(category = "generic", event = OrderEvent, state = S)]
struct Generic<S: StreamState<OrderEvent>>(Name<S>);

struct Name<S>(std::marker::PhantomData<fn(S)>);

impl<S> Display for Name<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("one")
    }
}

impl<S> std::str::FromStr for Name<S> {
    type Err = std::convert::Infallible;

    fn from_str(_: &str) -> Result<Self, Self::Err> {
        Ok(Self(std::marker::PhantomData))
    }
}

#[derive(Command)]
#[command(discovers(found: Vec<AccountId>, #[stream(read)] last: Option<MyLimitsId>), known_streams = Known)]
struct Everything<S: StreamState<OrderEvent>> {
    #[stream]
    account: AccountId,
    #[stream]
    none: Option<AccountId>,
    #[stream]
    orders: Vec<MyOrderId>,
    #[stream(read)]
    limits: MyLimitsId,
    #[stream(event = AccountEvent, state = Account)]
    raw: StreamId,
    #[stream(event = AccountEvent)]
    bare: StreamId,
    #[stream]
    generic: Generic<S>,
}

impl<S: StreamState<OrderEvent>> CommandLogic for Everything<S> {
    type State = ();
    type Error = Refused;

    fn handle(&self, (): &(), streams: EverythingStreams<'_, S>) -> Result<(), Refused> {
        let orders: u64 = streams.orders.iter().map(|(_, order)| order.events).sum();
        let none = streams.none.as_ref().map_or(0, |account| account.balance);
        let first: Option<&MyOrderId> = streams.orders.get(0).map(|(_, order)| order.key());
        let found: u64 = streams.found.into_iter().map(|(_, account)| account.balance).sum();
        let last = streams.last.map_or(0, |limits| limits.0);
        let raw: &StreamId = streams.raw.key();
        let (): &() = &*streams.bare;
        let _: &S = &streams.generic;
        let sum = streams.account.balance + orders + none + found + u64::from(streams.limits.0 + last) + streams.raw.balance;
        eventcore::require!(first.is_none() || raw.category() == "account", Refused);
        streams.account.append(AccountEvent::Deposited { amount: sum });
        Ok(())
    }
}

impl<S: StreamState<OrderEvent>> StreamResolver for Everything<S> {
    fn discover_related_streams(&self, (): &(), streams: Known<'_, S>) -> EverythingDiscovered {
        let rich = streams.found.iter().all(|(_, account)| account.balance > 10);
        EverythingDiscovered {
            found: vec![AccountId(streams.account.balance + 100)],
            last: rich.then_some(MyLimitsId { number: 1 }),
        }
    }
}

fn main() {
    let order: MyOrderId = "7".into();
    assert_eq!(order.to_string(), "7");
    assert_eq!("7".parse::<MyOrderId>().unwrap(), order);
    assert!("a*b".parse::<MyOrderId>().is_err());
    assert_eq!(MyOrderId::from(String::from("7")), order);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let store = MemoryEventStore::new();
        for _ in 0..2 {
            let command = Everything::<Count> {
                account: AccountId(1),
                none: None,
                orders: vec![order.clone()],
                limits: MyLimitsId::from(7),
                raw: StreamId::new("account-2").unwrap(),
                bare: StreamId::new("account-3").unwrap(),
                generic: Generic(Name(std::marker::PhantomData)),
            };
            execute(&store, command, RetryPolicy::new()).await.unwrap();
        }
        let (account, orders) = load(&store, (&AccountId(1), &vec![order])).await.unwrap();
        assert_eq!((account.balance, account.version().get(), orders[0].events), (0, 2, 0));
    });
}
