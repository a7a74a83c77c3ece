//! Consumers of events: typed feeds, subscriptions, and projections that apply each event exactly once.
//!
//! | to … | start at |
//! | --- | --- |
//! | say which events are read, as a type | [`EventFeed`] |
//! | follow events | [`subscribe`] |
//! | keep a read model | [`Projection`], [`ProjectionRunner`] |
//! | keep one in memory | [`MemoryReadModel`] |
//! | read one's own writes | [`wait_for`], [`ProjectionHandle::wait_for`] |
//! | see how it goes | [`status()`], [`dead_letters`], [`replay`] |
//!
//! This module reads events through [`EventStore`](crate::EventStore) and writes through [`ProjectionDatabase`]; it knows
//! no SQL.

mod apply;
mod automation;
mod batch;
mod database;
mod error;
mod feed;
mod handle;
mod leader;
mod memory;
mod metrics;
mod name;
mod page;
mod pages;
mod panic;
mod policy;
#[allow(
    clippy::module_inception,
    reason = "the trait that gives the module its name"
)]
mod projection;
mod rebuild;
mod registry;
mod retry;
mod runner;
mod shutdown;
mod status;
mod subscription;

pub use automation::{Automated, Automation, Reaction};
pub use database::{
    DeadLetter, Forbidden, ForbiddenUse, LastError, Leadership, Lease, LeaseError, Progress,
    ProjectionDatabase, ProjectionRecord, ReadModel, Stage,
};
pub use error::ProjectionError;
#[cfg(feature = "macros")]
pub use eventcore_macros::EventFeed;
pub use feed::{EventFeed, EventOf, FeedError, FeedErrorCause, FeedKey};
pub use handle::{ProjectionHandle, WaitError, wait_for};
pub use memory::{MemoryReadModel, MemoryTransaction};
pub use policy::ErrorPolicy;
pub use projection::Projection;
pub use rebuild::{RebuildHandle, RebuildOutcome, RebuildProgress};
pub use runner::ProjectionRunner;
pub use status::{ProjectionState, ProjectionStatus, status};
pub use subscription::{Subscription, SubscriptionError, subscribe};

use crate::{EventStoreError, Position};

/// The events that a projection has put aside after a position ([`Position::START`] for all), the first 1,000, in commit
/// order. What comes then is found after the position of the last.
///
/// # Errors
/// What keeps the database from being asked.
pub async fn dead_letters<D: ProjectionDatabase>(
    database: &D,
    name: &str,
    after: Position,
) -> Result<Vec<DeadLetter>, EventStoreError> {
    database.live(name).dead_letters(after).await
}

/// Asks whoever leads a projection to apply a parked event again, or all of them (`None`). It does so within a second;
/// what fails again stays parked. Says how many there are.
///
/// Such an event is applied after later ones. That is for the projection to bear.
///
/// # Errors
/// What keeps the database from being asked.
pub async fn replay<D: ProjectionDatabase>(
    database: &D,
    name: &str,
    position: Option<Position>,
) -> Result<usize, EventStoreError> {
    database.live(name).replay(position).await
}
