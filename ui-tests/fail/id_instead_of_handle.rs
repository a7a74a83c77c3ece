//! A key does not write.

use ui_tests::*;

fn handle(command: &Transfer, _streams: TransferStreams<'_>) {
    command.from.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
