//! `__private` makes no handle, and the buffer behind one is out of reach.

use eventcore::{__private, command::StreamHandle};
use ui_tests::*;

fn handle(streams: TransferStreams<'_>) {
    let _ = __private::WriteBuffer::default();
    let _ = __private::Handles::default();
    let buffer = streams.limits.buffer;
    let _: StreamHandle<'_, LimitsId> = StreamHandle::new(buffer, 2);
}

fn main() {}
