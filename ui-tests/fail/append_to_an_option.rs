//! Appending to a stream that may not be there: write `if let Some(account) = streams.account`.
//!
//! rustc leaves no way to say so: `Option` is its own type, and methods that a type does not have
//! take no note of a library.

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
