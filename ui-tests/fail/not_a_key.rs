//! A type that names no stream.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: String,
}

fn main() {}
