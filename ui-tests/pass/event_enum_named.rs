//! A domain event with the name of the enum that the derive would generate.

use eventcore::{Command, CommandLogic};
use ui_tests::*;

enum DepositEvent {
    Made,
}

#[derive(Command)]
#[command(event = DepositStreamEvent)]
struct Deposit {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), DepositStreamEvent::Account(_): DepositStreamEvent<'_>) {}

    fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), Refused> {
        let DepositEvent::Made = DepositEvent::Made;
        streams.account.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

fn main() {
    let _ = Deposit { account: AccountId(1) };
}
