//! An option of a type that names no stream.

use eventcore::Command;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: Option<u64>,
}

fn main() {}
