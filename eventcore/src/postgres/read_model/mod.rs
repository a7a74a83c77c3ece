//! Read models in PostgreSQL: the transaction that a projection writes through, checkpoints, leases and rebuilds.

pub(crate) mod database;
pub(crate) mod transaction;
