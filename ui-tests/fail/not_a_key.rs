//! A type that names no stream.

use eventcore::Command;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: String,
}

fn main() {}
