//! A command has fields.

use eventcore::Command;

#[derive(Command)]
struct Deposit;

fn main() {}
