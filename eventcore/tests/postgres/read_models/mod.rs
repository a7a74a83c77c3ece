//! Read models in PostgreSQL: each in a schema of its own, which a rebuild replaces as a whole or refuses to replace.

mod commands;
mod database;
mod dump;
mod kills;
mod objects;
mod property;
mod readers;
mod refusals;
mod rights;
mod script;
mod warnings;
