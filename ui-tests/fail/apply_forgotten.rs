//! A command with a state of its own, and no `apply` to fold it.

use eventcore::{Command, CommandLogic, RetryPolicy, execute, memory::MemoryEventStore};
use ui_tests::*;

#[derive(Command)]
struct Withdraw {
    #[stream]
    account: AccountId,
    amount: u64,
}

impl CommandLogic for Withdraw {
    type State = u64;
    type Error = Refused;

    fn handle(&self, _: &u64, streams: WithdrawStreams<'_>) -> Result<(), Refused> {
        streams.account.append(AccountEvent::Withdrawn { amount: self.amount });
        Ok(())
    }
}

async fn run() {
    let command = Withdraw { account: AccountId(1), amount: 1 };
    let _ = execute(&MemoryEventStore::new(), command, RetryPolicy::new()).await;
}

fn main() {
    drop(run());
}
