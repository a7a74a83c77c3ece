//! A field without `#[stream]` has no handle.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.amount.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
