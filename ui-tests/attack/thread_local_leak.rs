//! A handle does not outlive its execution in a thread local.

use std::cell::RefCell;

use eventcore::command::StreamHandle;
use ui_tests::*;

thread_local! {
    static KEPT: RefCell<Vec<StreamHandle<'static, AccountId>>> = const { RefCell::new(Vec::new()) };
}

fn handle(streams: TransferStreams<'_>) {
    KEPT.with_borrow_mut(|kept| kept.push(streams.from));
}

fn main() {}
