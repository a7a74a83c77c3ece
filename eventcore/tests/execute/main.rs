//! The execution of commands: decisions, retries, deadlines, states and snapshots, and the test kit.
#![cfg(all(feature = "macros", feature = "sqlite"))]

mod bad_input;
mod chaos;
mod commands;
mod contention;
mod deadline;
mod given_when_then;
mod pipeline;
mod simulation;
mod snapshots;
mod states;

#[path = "../support/counter.rs"]
mod counter;
#[cfg(feature = "postgres")]
#[path = "../support/server.rs"]
mod server;
