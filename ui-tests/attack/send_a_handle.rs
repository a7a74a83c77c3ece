//! A handle does not leave its thread.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    run_on_another_thread(|| streams.from.append(AccountEvent::Deposited { amount: 1 }));
}

/// Asks for what `std::thread::spawn` asks for, with a bound whose place is the same on every machine.
fn run_on_another_thread(_: impl FnOnce() + Send) {}

fn main() {}
