//! A store that is none.

use eventcore::{RetryPolicy, execute};
use ui_tests::*;

async fn run(transfer: Transfer) {
    let _ = execute(&"bank.db", transfer, RetryPolicy::new()).await;
}

fn main() {}
