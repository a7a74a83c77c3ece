//! The contract of event stores: the suite on each store, and each parameter at its bounds.
#![cfg(all(feature = "macros", feature = "postgres", feature = "sqlite"))]

mod contract;
mod errors;
mod extremes;
mod foreign;

#[path = "../support/counter.rs"]
mod counter;
#[path = "../support/server.rs"]
mod server;
