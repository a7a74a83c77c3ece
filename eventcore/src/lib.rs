//! Event sourcing whose commands are typed, atomic across many streams, and checked by the compiler.
//!
//! A command is a plain struct. Its `#[stream]` fields name the event streams that it works on;
//! `#[derive(Command)]` turns them into a typed boundary. [`execute()`] reads those streams, folds
//! their events into states, lets the command decide, and commits the new events to all of the
//! streams atomically, or to none. **A command cannot write to a stream that it did not declare,
//! and the compiler enforces it.**
//!
//! Dependencies point one way: ids → [`Event`] → [`store`] → [`command`] → [`execute()`] → [`projection`] → the backends
//! [`sqlite`] and [`postgres`].
//!
//! | to … | start at |
//! | --- | --- |
//! | write a command | [`CommandLogic`], [`derive(Command)`](derive@Command) |
//! | define events, stream keys and their states | [`Event`](trait@Event), [`StreamKey`](trait@StreamKey), [`StreamState`] |
//! | read a state without a command | [`load()`] |
//! | run commands | [`execute()`], [`ExecuteOptions`], [`RetryPolicy`] |
//! | read events as they are committed | [`projection::subscribe`] |
//! | keep events in a file | [`sqlite::SqliteEventStore`] |
//! | share events among many machines | [`postgres::PostgresEventStore`] |
//! | test | [`testing`], [`memory::MemoryEventStore`] |
//! | write an event store | [`EventStore`] |
//! | learn more | [`guide`] |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod chain;
pub mod command;
mod event;
pub mod execute;
pub mod guide;
mod panic;
mod position;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod projection;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod store;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;

pub use command::{CommandLogic, CommandStreams, DeclarationError, StreamResolver};
pub use event::{
    CommitId, DecodeError, EncodeError, Event, EventId, MAX_EVENT_BYTES, MAX_TYPE_NAME_BYTES,
    Metadata, PayloadWriter, RecordedEvent, StateOptions, StreamKey, StreamState,
};
#[cfg(feature = "macros")]
pub use eventcore_macros::{Command, Event, EventFeed, StreamKey};
pub use execute::{
    error::{CommandError, RetryBound},
    load::{LoadError, LoadKeys, Loaded, load, load_at},
    options::ExecuteOptions,
    response::ExecutionResponse,
    retry::{MetricsHook, RetryContext, RetryPolicy, RetryReason},
    run::execute,
};
pub use position::{Position, Version};
pub use projection::feed::EventFeed;
pub use store::{
    EventFilter, EventSelector, EventStore, EventStoreError, Fingerprint, FingerprintError,
    IdempotencyKey, IdempotencyKeyError, KeyReused, VersionConflict, memory,
};
pub use stream::{MAX_STREAM_ID_CHARS, StreamId, StreamIdError, decode_key, encode_key};

/// Returns an error from `handle` unless a condition holds: `require!(funds >= amount, TransferError::Insufficient)`.
///
/// The error is converted into the function's error type, as with `?`.
///
/// ```
/// fn withdraw(balance: u64, amount: u64) -> Result<u64, String> {
///     eventcore::require!(balance >= amount, "insufficient funds");
///     Ok(balance - amount)
/// }
/// assert_eq!(withdraw(1, 2), Err("insufficient funds".to_owned()));
/// ```
#[macro_export]
macro_rules! require {
    ($condition:expr, $error:expr $(,)?) => {
        if !$condition {
            return ::core::result::Result::Err(::core::convert::Into::into($error));
        }
    };
}

/// Items that generated code calls. Not part of the public interface.
#[doc(hidden)]
pub mod __private {
    pub use serde::{Serialize, de::DeserializeOwned};

    pub use crate::event::{
        IfCloned, NotCloned, are_distinct, concat_names, contains, count_names, decode_struct,
        decode_variant, encode_fields, encode_struct, upcast,
    };
}
