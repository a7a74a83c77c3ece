//! Errors of projections.

use std::{error::Error, sync::Arc};

use super::{Forbidden, SubscriptionError};
use crate::{EventStoreError, Position, StreamId};

/// The error that ended a projection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// An event could not be applied, and the error policy says to stop.
    #[error(
        "projection `{projection}` cannot apply `{type_name}` of stream `{stream}` at position {position} (attempt \
         {attempts}): {source}; mend it and start again, or let the error policy park such events"
    )]
    Event {
        /// The projection.
        projection: &'static str,
        /// The event.
        position: Position,
        /// Its stream.
        stream: StreamId,
        /// Its stored name.
        type_name: Arc<str>,
        /// The number of attempts.
        attempts: u32,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// `prepare` failed.
    #[error("projection `{projection}` cannot prepare its read model: {source}")]
    Prepare {
        /// The projection.
        projection: &'static str,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The projection used what is not part of its read model, or what a rebuild cannot carry over. Nothing of that batch was
    /// committed.
    #[error("projection `{projection}` is refused; nothing was committed: {forbidden}")]
    Forbidden {
        /// The projection.
        projection: &'static str,
        /// The objects, each with the reason.
        forbidden: Forbidden,
    },
    /// The feed is broken.
    #[error(transparent)]
    Subscription(SubscriptionError),
    /// The store or database failed in a way that does not pass.
    #[error(transparent)]
    Store(#[from] EventStoreError),
    /// Another projection of this process leads under the same name. They would share one checkpoint, so that each event
    /// changed the tables of one of them only.
    #[error(
        "two projections are called `{projection}`, `{own_type}` and `{other_type}`, and would share one checkpoint; give one \
         of them another `NAME`"
    )]
    NameTaken {
        /// The name.
        projection: &'static str,
        /// The Rust type of the projection that ended with this error.
        own_type: &'static str,
        /// The Rust type of the projection that leads.
        other_type: &'static str,
    },
    /// Its task panicked outside of `prepare` and `apply`. The open transaction was rolled back.
    #[error("projection `{projection}` panicked: {message}")]
    Panicked {
        /// The projection.
        projection: &'static str,
        /// The message of the panic.
        message: String,
    },
}

impl ProjectionError {
    /// The position of the event that the error is about.
    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Self::Event { position, .. } => Some(*position),
            _ => None,
        }
    }
}

/// An error and what caused it, in one line.
pub(super) fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors name their source already.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
