//! A handle has no public fields.

use eventcore::command::StreamHandle;
use ui_tests::*;

fn handle(_streams: TransferStreams<'_>) {
    let _: StreamHandle<'_, AccountId> = StreamHandle { slot: 7 };
}

fn main() {}
