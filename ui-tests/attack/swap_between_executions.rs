//! Handles of two executions do not mix.

use ui_tests::*;

fn handle<'a, 'b>(mut mine: TransferStreams<'a>, mut theirs: TransferStreams<'b>) {
    std::mem::swap(&mut mine.from, &mut theirs.from);
}

fn main() {}
