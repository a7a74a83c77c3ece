//! Read models in SQLite: one file for each, written only by its projection and replaced page by
//! page in a rebuild.

pub(crate) mod database;
pub(crate) mod file;
mod guard;
mod swap;
pub(crate) mod target;
pub(crate) mod threads;
pub(crate) mod transaction;
mod write_lock;
