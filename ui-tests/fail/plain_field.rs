//! A write through a field without `#[stream]`.
//!
//! rustc leaves no way to say "add `#[stream]`": an unknown field takes no note of a library, and a
//! field that exists only for its message would be offered by editors and break patterns.

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    streams.amount.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
