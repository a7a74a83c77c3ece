//! A slot with the name of a field.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
#[command(discovers(account: Option<AccountId>))]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn main() {}
