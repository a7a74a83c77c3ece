//! The command before the store.
//!
//! rustc leaves no way to one error: it asks for the bounds of an `async fn` at the argument, for
//! the future that the call returns, and again at `.await`.

use eventcore::{RetryPolicy, execute, memory::MemoryEventStore};
use ui_tests::*;

async fn run(store: MemoryEventStore, transfer: Transfer) {
    let _ = execute(transfer, &store, RetryPolicy::new()).await;
}

fn main() {}
