//! Type parameters, lifetimes, constants and where-clauses.

use std::{fmt::Display, str::FromStr};

use eventcore::{Command, CommandLogic, RetryPolicy, StreamKey, execute, memory::MemoryEventStore};
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "box", event = OrderEvent)]
struct BoxId<T: Display + FromStr>(T)
where
    T::Err: Display;

#[derive(Command)]
struct Pack<'n, K, const N: usize>
where
    K: StreamKey<Event = AccountEvent>,
{
    #[stream]
    account: K,
    #[stream]
    boxes: Vec<BoxId<u64>>,
    names: [&'n str; N],
}

impl<K, const N: usize> CommandLogic for Pack<'_, K, N>
where
    K: StreamKey<Event = AccountEvent>,
{
    type State = usize;
    type Error = Refused;

    fn apply(&self, state: &mut usize, event: PackEvent<'_, K>) {
        match event {
            PackEvent::Account(AccountEvent::Deposited { .. } | AccountEvent::Withdrawn { .. }) => *state += N,
            PackEvent::Boxes((BoxId(_), OrderEvent::Placed)) => {}
        }
    }

    fn handle(&self, _: &usize, streams: PackStreams<'_, K>) -> Result<(), Refused> {
        for _ in self.names {
            streams.account.append(AccountEvent::Deposited { amount: 1 });
        }
        for (_, one) in streams.boxes {
            one.append(OrderEvent::Placed);
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryEventStore::new();
    let names = [String::from("a"), String::from("b")];
    let names = [names[0].as_str(), names[1].as_str()];
    let command = Pack { account: AccountId(1), boxes: vec![BoxId(2)], names };
    assert_eq!(execute(&store, command, RetryPolicy::new()).await.unwrap().events_written(), 3);
}
