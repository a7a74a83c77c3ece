//! Commands whose state is remembered: the same verdicts as without, and less to read.
#![cfg(all(feature = "macros", feature = "sqlite"))]
#![allow(clippy::unwrap_used, clippy::panic)]

use eventcore::{
    Command, CommandLogic, Event, EventStore, RetryPolicy, StreamKey, execute,
    memory::MemoryEventStore, require,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(Debug, Clone, Command)]
#[command(cached)]
struct Deposit {
    #[stream]
    account: AccountId,
    amount: u64,
}
impl CommandLogic for Deposit {
    type State = u64;
    type Error = &'static str;
    fn apply(&self, b: &mut u64, DepositEvent::Account(e): DepositEvent<'_>) {
        match e {
            AccountEvent::Deposited { amount } => *b += amount,
            AccountEvent::Withdrawn { amount } => *b -= amount,
        }
    }
    fn handle(&self, b: &u64, s: DepositStreams<'_>) -> Result<(), &'static str> {
        require!(*b < 100, "enough");
        s.account.append(AccountEvent::Deposited {
            amount: self.amount,
        });
        Ok(())
    }
}

#[tokio::test]
async fn hit() {
    let store = MemoryEventStore::new();
    for _ in 0..5 {
        execute(
            &store,
            Deposit {
                account: AccountId(1),
                amount: 5,
            },
            RetryPolicy::new(),
        )
        .await
        .unwrap();
    }
    println!("{:?}", store.states());
}
