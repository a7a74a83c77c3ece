//! A write to a stream that the command does not declare.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.audit.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
