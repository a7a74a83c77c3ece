//! A handle does not outlive `handle`.

use std::cell::RefCell;

use eventcore::command::StreamHandle;
use ui_tests::*;

struct Kept<'k>(RefCell<Option<StreamHandle<'k, AccountId>>>);

fn handle<'k>(kept: &Kept<'k>, streams: TransferStreams<'_>) {
    *kept.0.borrow_mut() = Some(streams.from);
}

fn main() {}
