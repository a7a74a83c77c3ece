//! Reads of the SQLite store: queued reads on threads, short reads on the caller's thread, feeds, and notifications.

pub(crate) mod feed;
pub(crate) mod inline;
pub(crate) mod interner;
pub(crate) mod notify;
pub(crate) mod thread;
