//! Writes of the PostgreSQL store: one task with group commit, the batches that it sends, and their encoding.

mod arguments;
pub(crate) mod batch;
pub(crate) mod snapshot;
pub(crate) mod task;
