//! A command has named fields.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit(#[stream] AccountId);

fn main() {}
