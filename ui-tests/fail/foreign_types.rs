//! Types that name no stream, in every place.

use eventcore::{Command, StreamId};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(payment: Option<u64>))]
struct Deposit {
    #[stream]
    account_id: u64,
    #[stream(read)]
    others: std::vec::Vec<String>,
    #[stream(event = AccountEvent)]
    target: Option<String>,
    #[stream(event = AccountEvent)]
    right: StreamId,
}

fn main() {}
