//! Subscriptions and projections, on every store.
#![cfg(all(feature = "macros", feature = "postgres", feature = "sqlite"))]

mod cancellation;
mod exactly_once;
mod failures;
mod killed;
mod names;
mod subscriptions;

#[path = "../support/append.rs"]
mod append;
#[path = "../support/chain.rs"]
mod chain;
#[path = "../support/projection.rs"]
mod projection;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/warnings.rs"]
mod warnings;
