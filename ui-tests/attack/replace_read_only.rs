//! A read-only handle is not replaced by a writable one.

use ui_tests::*;

fn handle(mut streams: TransferStreams<'_>) {
    let _ = std::mem::replace(&mut streams.limits, streams.from);
}

fn main() {}
