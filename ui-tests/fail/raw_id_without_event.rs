//! A raw stream id that does not say what it holds.

use eventcore::{Command, StreamId};

#[derive(Command)]
struct Deposit {
    #[stream]
    account: StreamId,
}

fn main() {}
