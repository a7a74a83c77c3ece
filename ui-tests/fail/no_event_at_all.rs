//! Something that is no event.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.from.append("deposited");
}

fn main() {}
