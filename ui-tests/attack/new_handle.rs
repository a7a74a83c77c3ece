//! A handle has no public constructor.

use eventcore::command::StreamHandle;
use ui_tests::*;

fn handle(_streams: TransferStreams<'_>) {
    let _: StreamHandle<'_, AccountId> = StreamHandle::new(7);
}

fn main() {}
