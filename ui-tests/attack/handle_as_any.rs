//! A handle is no `Any`, under which its lifetime and its access could be forgotten.

use std::any::Any;

use ui_tests::*;

fn handle(streams: TransferStreams<'_>) -> Box<dyn Any> {
    Box::new(streams.from)
}

fn main() {}
