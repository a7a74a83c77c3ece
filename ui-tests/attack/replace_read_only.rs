//! A read-only handle is not replaced by a writable one.

use ui_tests::*;

fn handle(mut streams: TransferStreams<'_>) {
    let _ = replace(&mut streams.limits, streams.from);
}

fn replace<T>(place: &mut T, value: T) -> T {
    std::mem::replace(place, value)
}

fn main() {}
