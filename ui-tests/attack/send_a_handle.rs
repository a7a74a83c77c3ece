//! A handle does not leave its thread.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    std::thread::scope(|scope| {
        scope.spawn(|| streams.from.append(AccountEvent::Deposited { amount: 1 }));
    });
}

fn main() {}
