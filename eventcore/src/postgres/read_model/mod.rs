//! Read models in PostgreSQL: each in its own schema, which a rebuild replaces as a whole.

mod check;
pub(crate) mod database;
mod dead_letters;
mod lease;
mod namespace;
mod open;
mod rebuild;
mod swap;
pub(crate) mod target;
pub(crate) mod transaction;
