//! Consumers of events: typed feeds, subscriptions, and projections that apply each event exactly once.
//!
//! | to … | see |
//! | --- | --- |
//! | declare the events to read as a type | [`EventFeed`](trait@crate::EventFeed) |
//! | follow events | [`subscribe`] |
//! | maintain a read model | [`Projection`], [`ProjectionRunner`] |
//! | maintain one in memory | [`MemoryReadModel`] |
//! | read your own writes | [`wait_for`], [`ProjectionHandle::wait_for`] |
//! | monitor and repair a projection | [`status()`], [`dead_letters`], [`replay`] |
//!
//! This module reads events through [`EventStore`](crate::EventStore) and writes through
//! [`ProjectionDatabase`]; it contains no SQL.

mod apply;
mod automation;
mod batch;
mod database;
mod error;
pub(crate) mod feed;
mod handle;
mod identity;
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
    ProjectionDatabase, ProjectionIdentity, ProjectionRecord, ReadModel, Stage,
};
pub use error::ProjectionError;
pub use feed::{FeedError, FeedErrorCause};
pub use handle::{ProjectionHandle, WaitError, wait_for};
pub use memory::{MemoryReadModel, MemoryTransaction};
pub use policy::ErrorPolicy;
pub use projection::Projection;
pub use rebuild::{RebuildHandle, RebuildOutcome, RebuildProgress};
pub use runner::ProjectionRunner;
pub use status::{ProjectionState, ProjectionStatus, status};
pub use subscription::{Subscription, SubscriptionError, subscribe};

use crate::{EventStoreError, Position};

/// The vocabulary of code that `#[derive(EventFeed)]` generates. Nobody else needs it.
pub mod codegen {
    pub use super::feed::{EventOf, FeedKey};
}

/// Returns the first 1,000 dead letters of a projection after a position ([`Position::START`] for
/// the first page), in commit order. Pass the position of the last one to get the next page.
///
/// # Errors
/// Returns [`EventStoreError`] if the database cannot be read.
pub async fn dead_letters<D: ProjectionDatabase>(
    database: &D,
    name: &str,
    after: Position,
) -> Result<Vec<DeadLetter>, EventStoreError> {
    database.live(name).dead_letters(after).await
}

/// Marks one dead letter of a projection, or all of them (`None`), for replay, and returns their
/// number. The leader starts to reapply them within a second; an event that fails again stays a
/// dead letter.
///
/// A replayed event is applied after later events. The projection must tolerate this.
///
/// # Errors
/// Returns [`EventStoreError`] if the database cannot be read or written.
pub async fn replay<D: ProjectionDatabase>(
    database: &D,
    name: &str,
    position: Option<Position>,
) -> Result<usize, EventStoreError> {
    database.live(name).replay(position).await
}
