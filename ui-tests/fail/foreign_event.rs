//! An order event into an account stream.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.from.append(OrderEvent::Placed);
}

fn main() {}
