//! A payload is text or a value, not bytes of any kind.

use eventcore::{EncodeError, PayloadWriter};

fn encode(payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
    payload.json(&[0xff_u8])
}

fn main() {}
