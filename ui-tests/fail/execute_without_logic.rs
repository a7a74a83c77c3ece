//! A command that does not say what it does.

use eventcore::{Command, RetryPolicy, execute, memory::MemoryEventStore};
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
}

async fn run(store: &MemoryEventStore) {
    let _ = execute(store, Deposit { account: AccountId(1) }, RetryPolicy::new()).await;
}

fn main() {}
