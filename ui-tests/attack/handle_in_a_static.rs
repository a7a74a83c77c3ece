//! A handle does not fit into a static.

use std::sync::Mutex;

use eventcore::command::StreamHandle;
use ui_tests::*;

static KEPT: Mutex<Option<StreamHandle<'static, AccountId>>> = Mutex::new(None);

fn handle(streams: TransferStreams<'_>) {
    *KEPT.lock().unwrap() = Some(streams.from);
}

fn main() {}
