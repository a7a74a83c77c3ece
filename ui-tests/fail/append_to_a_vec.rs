//! Appending to the streams of a `Vec` field without saying to which.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    accounts: Vec<AccountId>,
}

fn handle(streams: DepositStreams<'_>) {
    streams.accounts.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
