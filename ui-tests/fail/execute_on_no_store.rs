//! A store that is none.
//!
//! rustc leaves no way to one error: it asks for the bounds of an `async fn` at the argument, for
//! the future that the call returns, and again at `.await`.

use eventcore::{RetryPolicy, execute};
use ui_tests::*;

async fn run(transfer: Transfer) {
    let _ = execute(&"bank.db", transfer, RetryPolicy::new()).await;
}

fn main() {}
