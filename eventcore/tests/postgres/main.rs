//! The PostgreSQL store: how it is operated, its faults, the processes that share it, and its read models.
#![cfg(all(feature = "macros", feature = "postgres", feature = "sqlite"))]

mod concurrency;
mod damage;
mod faults;
mod hints;
mod names;
mod operation;
mod plans;
mod pooler;
mod projections;
mod read_models;
mod refusals;
mod rights;
mod slow_link;
mod standby;
mod urls;

mod own_server;
mod proxy;

#[path = "../support/append.rs"]
mod append;
#[path = "../support/chain.rs"]
mod chain;
#[path = "../support/counter.rs"]
mod counter;
#[path = "../support/projection.rs"]
mod projection;
#[path = "../support/server.rs"]
mod server;
#[path = "../support/warnings.rs"]
mod warnings;
