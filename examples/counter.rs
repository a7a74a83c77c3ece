//! The smallest program: one event, one stream key, one command. It counts its runs.

use std::convert::Infallible;

use eventcore::{
    Command, CommandLogic, Event, RetryPolicy, StreamKey, execute, sqlite::SqliteEventStore,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum CounterEvent {
    Counted,
}

#[derive(StreamKey)]
#[stream_key(category = "counter", event = CounterEvent)]
struct CounterId(u32);

#[derive(Command)]
struct Count {
    #[stream]
    counter: CounterId,
}

impl CommandLogic for Count {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: CountStreams<'_>) -> Result<(), Infallible> {
        println!("run {} time(s) before", streams.counter.version());
        streams.counter.append(CounterEvent::Counted);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteEventStore::open(std::env::temp_dir().join("eventcore-counter.db")).await?;
    let count = Count {
        counter: CounterId(1),
    };
    execute(&store, count, RetryPolicy::new()).await?;
    Ok(())
}
