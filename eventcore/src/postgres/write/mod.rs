//! Writes of the PostgreSQL store: one task with group commit, and the batches that it sends.

pub(crate) mod batch;
pub(crate) mod task;
