//! Counters, and a command that adds one to each of some.

use std::convert::Infallible;

use eventcore::{Command, CommandLogic, Event, StreamKey};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum CounterEvent {
    Counted { by: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "counter", event = CounterEvent)]
pub struct CounterId(pub u64);

#[derive(Debug, Command)]
pub struct Count {
    #[stream]
    pub counters: Vec<CounterId>,
}

impl CommandLogic for Count {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: CountEvent<'_>) {}

    fn handle(&self, (): &(), streams: CountStreams<'_>) -> Result<(), Infallible> {
        for (_, counter) in streams.counters {
            counter.append(CounterEvent::Counted { by: 1 });
        }
        Ok(())
    }
}
