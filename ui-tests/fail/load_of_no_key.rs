//! `load` takes references to keys.

use eventcore::{load, memory::MemoryEventStore};
use ui_tests::*;

async fn run(store: &MemoryEventStore) {
    let _ = load(store, AccountId(1)).await;
}

fn main() {}
