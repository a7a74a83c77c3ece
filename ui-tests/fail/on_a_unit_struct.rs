//! A command has fields.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit;

fn main() {}
