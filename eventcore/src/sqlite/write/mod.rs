//! Writes of the SQLite store: one thread with group commit, the lock that it shares with projections, and disk failures.

pub(crate) mod moved;
pub(crate) mod poison;
pub(crate) mod thread;
pub(crate) mod transaction;
pub(crate) mod write_lock;
