//! Read models in SQLite: a file for each, which the projection writes alone and a rebuild replaces page by page.

pub(crate) mod database;
pub(crate) mod file;
mod guard;
mod swap;
pub(crate) mod target;
pub(crate) mod threads;
pub(crate) mod transaction;
mod write_lock;
