//! Errors of projections.

use std::{error::Error, sync::Arc};

use super::{Forbidden, SubscriptionError};
use crate::{EventStoreError, Position, StreamId};

/// The error that ended a projection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectionError {
    /// An event could not be applied, and the error policy stops the projection.
    #[error(
        "projection `{projection}` cannot apply `{type_name}` of stream `{stream}` at position {position} (attempt \
         {attempts}); correct its code and start it again, or choose an error policy that parks such events"
    )]
    Event {
        /// The name of the projection.
        projection: &'static str,
        /// The position of the event.
        position: Position,
        /// The event's stream.
        stream: StreamId,
        /// The event's stored type name.
        type_name: Arc<str>,
        /// The number of attempts.
        attempts: u32,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// `prepare` failed.
    #[error("projection `{projection}` cannot prepare its read model")]
    Prepare {
        /// The name of the projection.
        projection: &'static str,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The projection used objects outside of its read model, or objects that a rebuild cannot
    /// carry over. The batch was not committed.
    #[error(
        "projection `{projection}` is not allowed to do this, so nothing was committed: {forbidden}"
    )]
    Forbidden {
        /// The name of the projection.
        projection: &'static str,
        /// The objects, each with the reason for the refusal.
        forbidden: Forbidden,
    },
    /// The feed has a gap, or ends before a position that was already read.
    #[error(transparent)]
    Subscription(SubscriptionError),
    /// The store or database failed permanently.
    #[error(transparent)]
    Store(#[from] EventStoreError),
    /// Another projection in this process leads under the same name. The two would share one
    /// checkpoint, so each event would be applied by only one of them.
    #[error(
        "two projections have the name `{projection}`, `{own_type}` and `{other_type}`, and would share one \
         checkpoint; give one of them another `NAME`"
    )]
    NameTaken {
        /// The shared name.
        projection: &'static str,
        /// The Rust type of the projection that ended with this error.
        own_type: &'static str,
        /// The Rust type of the projection that leads.
        other_type: &'static str,
    },
    /// The feed of the projection differs from the one that its read model was built from. Either
    /// another projection has the same name, perhaps in another process, or the feed of this one was
    /// changed. Events before the checkpoint may be missing from the read model.
    #[error(
        "projection `{projection}` (type `{own_type}`) reads {own_feed}, but the read model of this name was built by type \
         `{recorded_type}` from {recorded_feed}; if these are two projections, give one of them another `NAME`; if the feed \
         was changed, replace the read model with `start_rebuild`, or, to continue from its checkpoint without the earlier \
         events, name the former feed with `ProjectionRunner::former_feed`"
    )]
    FeedChanged {
        /// The name of the projection.
        projection: &'static str,
        /// The Rust type of the projection that ended with this error, without modules.
        own_type: String,
        /// The events that this projection reads.
        own_feed: String,
        /// The Rust type of the projection that led last.
        recorded_type: String,
        /// The events from which the read model was built.
        recorded_feed: String,
    },
    /// The projection's task panicked outside of `prepare` and `apply`. The open transaction was
    /// rolled back.
    #[error("projection `{projection}` panicked: {message}")]
    Panicked {
        /// The name of the projection.
        projection: &'static str,
        /// The message of the panic.
        message: String,
    },
}

impl ProjectionError {
    /// Returns the position of the event that the error is about.
    pub(super) fn position(&self) -> Option<Position> {
        match self {
            Self::Event { position, .. } => Some(*position),
            _ => None,
        }
    }
}
