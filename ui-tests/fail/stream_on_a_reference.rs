//! A reference to a key.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit<'k> {
    #[stream]
    account: &'k AccountId,
}

fn main() {}
