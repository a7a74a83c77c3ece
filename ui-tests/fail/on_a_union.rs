//! A command is a struct.

use eventcore::Command;

#[derive(Command)]
union Deposit {
    cash: u64,
}

fn main() {}
