//! A raw stream id whose event type is not an event.

use eventcore::{Command, StreamId};

struct NotAnEvent;

#[derive(Command)]
struct Deposit {
    #[stream(event = NotAnEvent)]
    account: StreamId,
}

fn main() {}
