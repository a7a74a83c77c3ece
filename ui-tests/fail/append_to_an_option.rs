//! Appending to a stream that may not be there.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: Option<AccountId>,
}

fn handle(streams: DepositStreams<'_>) {
    streams.account.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
