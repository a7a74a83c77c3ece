//! Leaking a handle does not make it live longer.

use eventcore::command::StreamHandle;
use ui_tests::*;

fn handle(streams: TransferStreams<'_>) -> &'static StreamHandle<'static, AccountId> {
    Box::leak(Box::new(streams.from))
}

fn main() {}
