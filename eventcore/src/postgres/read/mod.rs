//! Reads of the PostgreSQL store: coalesced stream reads, feeds, the interner of names, and notifications.

pub(crate) mod coalesce;
pub(crate) mod feed;
pub(crate) mod interner;
pub(crate) mod notify;
pub(crate) mod page_bytes;
pub(crate) mod rows;
pub(crate) mod snapshots;
pub(crate) mod streams;
pub(crate) mod types;
