//! Appending to one of many read-only streams.

use eventcore::Command;
use ui_tests::*;

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountId,
    #[stream(read)]
    limits: Vec<LimitsId>,
}

fn handle(streams: DepositStreams<'_>) {
    for (_, limits) in streams.limits {
        limits.append(LimitsEvent::Set { daily: 1 });
    }
}

fn main() {}
