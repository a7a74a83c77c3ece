//! A handle does not fit into a static.

use std::sync::Mutex;

use eventcore::command::StreamHandle;
use ui_tests::*;

/// Holds a handle, or none. The source of `Option` would be shown only where it is installed.
enum Kept {
    Nothing,
    Handle(StreamHandle<'static, AccountId>),
}

static KEPT: Mutex<Kept> = Mutex::new(Kept::Nothing);

fn handle(streams: TransferStreams<'_>) {
    *KEPT.lock().unwrap() = Kept::Handle(streams.from);
}

fn main() {}
