//! Writes of the SQLite store: one thread with group commit, and disk failures.

pub(crate) mod moved;
pub(crate) mod poison;
pub(crate) mod snapshot;
pub(crate) mod thread;
pub(crate) mod transaction;
