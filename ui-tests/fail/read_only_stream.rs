//! A write to a stream that is declared for reading.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.limits.append(LimitsEvent::Set { daily: 1 });
}

fn main() {}
