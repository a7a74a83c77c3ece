//! A command that does not say what it does.
//!
//! rustc leaves no way to one error: it asks for the bounds of an `async fn` at the argument, for
//! the future that the call returns, and again at `.await`.

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
