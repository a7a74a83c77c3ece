//! Read models in SQLite: the transaction that a projection writes through, checkpoints, leases and rebuilds.

pub(crate) mod database;
pub(crate) mod rebuild;
pub(crate) mod target;
pub(crate) mod threads;
pub(crate) mod transaction;
