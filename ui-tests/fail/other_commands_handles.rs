//! The handles of another command.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
}

fn logic(_streams: DepositStreams<'_>) {}

fn handle(streams: TransferStreams<'_>) {
    logic(streams);
}

fn main() {}
