//! Records commands ([`History`]) and searches the records for anomalies ([`check`]).
//!
//! The approach follows Elle (Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
//! Experimental Observations", VLDB 2020), but has less to infer: the log contains the order of
//! each stream, so all dependencies between commands are known, and the search takes linear time.
//!
//! ```
//! # #[cfg(feature = "macros")] {
//! use eventcore::{
//!     Command, CommandLogic, Event, RetryPolicy, StreamKey, memory::MemoryEventStore,
//!     testing::history::{self, History},
//! };
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, Event)]
//! # enum CounterEvent { Counted }
//! # #[derive(StreamKey)]
//! # #[stream_key(category = "counter", event = CounterEvent)]
//! # struct CounterId(u32);
//! # #[derive(Command)]
//! # struct Count { #[stream] counter: CounterId }
//! # impl CommandLogic for Count {
//! #     type State = u64;
//! #     type Error = std::convert::Infallible;
//! #     fn apply(&self, _: &mut u64, _: CountEvent<'_>) {}
//! #     fn handle(&self, _: &u64, streams: CountStreams<'_>) -> Result<(), Self::Error> {
//! #         streams.counter.append(CounterEvent::Counted);
//! #         Ok(())
//! #     }
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let (store, mut lines) = (MemoryEventStore::new(), Vec::new());
//! let history = History::new("process-1", &mut lines);
//! history.execute(&store, Count { counter: CounterId(7) }, RetryPolicy::new()).await?.unwrap();
//! drop(history);
//!
//! let verdict = history::check(&history::read(&lines[..])?, &history::log(&store).await?);
//! assert!(verdict.is_clean(), "{verdict}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! # }
//! ```

mod check;
mod entry;
mod graph;
mod record;

use std::io::{self, BufRead};

pub use check::{Anomaly, Verdict, check};
pub use entry::{Attempt, Ended, Entry, Outcome, ReadStream, Started, WrittenEvent};
pub use record::History;

use crate::{
    EventStore, EventStoreError, Position, RecordedEvent,
    store::{EventFilter, MAX_PAGE_EVENTS, ReadFeedRequest},
};

/// Reads the entries that a [`History`] has written. An incomplete last line, left by a killed
/// process, is ignored.
///
/// # Errors
/// Returns an error if the input cannot be read, or if a complete line is not a valid entry.
pub fn read(mut lines: impl BufRead) -> io::Result<Vec<Entry>> {
    let (mut entries, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(entries);
        }
        entries.push(serde_json::from_str(&line)?);
    }
}

/// Reads the whole log of a store, as input for [`check`].
///
/// # Errors
/// Returns [`EventStoreError`] if the store cannot be read.
pub async fn log(store: &impl EventStore) -> Result<Vec<RecordedEvent>, EventStoreError> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = log.last().map_or(Position::START, |event| event.position);
        let request = ReadFeedRequest {
            after,
            filter: EventFilter::All,
            limit: MAX_PAGE_EVENTS,
        };
        let page = store.read_feed(request).await?;
        if page.events.is_empty() {
            return Ok(log);
        }
        log.extend(page.events);
    }
}

/// Extends a hash of the events of a stream by one event. Equal hashes indicate equal histories.
/// Uses FNV-1a over the stored type names and payloads.
fn mark(so_far: u64, type_name: &str, payload: &[u8]) -> u64 {
    let bytes = type_name.bytes().chain([0]).chain(payload.iter().copied());
    bytes.chain([0]).fold(so_far, |mark, byte| {
        (mark ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The hash of a stream without events.
const NO_EVENTS: u64 = 0xcbf2_9ce4_8422_2325;
