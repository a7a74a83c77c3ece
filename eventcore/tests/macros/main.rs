//! The derives, and code that goes around them.
#![cfg(all(feature = "macros", feature = "sqlite"))]

mod event_feed;
mod fuzz;
mod promise;

#[path = "../support/append.rs"]
mod append;
