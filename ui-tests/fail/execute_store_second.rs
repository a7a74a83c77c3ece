//! The command before the store.

use eventcore::{RetryPolicy, execute, memory::MemoryEventStore};
use ui_tests::*;

async fn run(store: MemoryEventStore, transfer: Transfer) {
    let _ = execute(transfer, &store, RetryPolicy::new()).await;
}

fn main() {}
