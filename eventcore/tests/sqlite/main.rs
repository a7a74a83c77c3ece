//! The SQLite store: its file, its faults, the processes that share it, and its read models.
#![cfg(all(feature = "macros", feature = "sqlite"))]

mod corruption;
mod faults;
mod file;
#[cfg(unix)]
mod moved;
mod processes;

// The projection that they share also runs on PostgreSQL.
#[cfg(feature = "postgres")]
mod read_models;
#[cfg(feature = "postgres")]
mod scripted;
#[cfg(feature = "postgres")]
mod swaps;

#[path = "../support/append.rs"]
mod append;
#[cfg(feature = "postgres")]
#[path = "../support/projection.rs"]
mod projection;
#[cfg(feature = "postgres")]
#[path = "../support/server.rs"]
mod server;
