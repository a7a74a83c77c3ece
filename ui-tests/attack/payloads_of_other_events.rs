//! An event that writes its payload reaches no other payload of the commit, and makes no writer of its own.

use eventcore::{EncodeError, PayloadWriter};

fn encode(payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
    payload.buffer.clear();
    let mut mine = Vec::new();
    *payload = PayloadWriter { buffer: &mut mine, start: 0 };
    payload.json("{}")
}

fn main() {}
