//! The chapter on testing: transfers between accounts.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, require, testing::given};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}
use AccountEvent::{Deposited, Withdrawn};

#[derive(Debug, Default)]
struct Account {
    balance: u64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            Deposited { amount } => self.balance += amount,
            Withdrawn { amount } => self.balance -= amount,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
struct AccountId(u64);

#[derive(Debug, Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
    amount: u64,
}

#[derive(Debug, PartialEq)]
enum TransferError {
    InsufficientFunds { available: u64 },
}

impl CommandLogic for Transfer {
    type State = ();
    type Error = TransferError;

    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), TransferError> {
        let available = streams.from.balance;
        require!(
            available >= self.amount,
            TransferError::InsufficientFunds { available }
        );
        let amount = self.amount;
        streams.from.append(Withdrawn { amount });
        streams.to.append(Deposited { amount });
        Ok(())
    }
}

#[test]
fn a_transfer_moves_money_that_is_there() {
    let (ada, grace) = (AccountId(1), AccountId(2));
    let transfer = |amount| Transfer {
        from: AccountId(1),
        to: AccountId(2),
        amount,
    };

    given()
        .events(&ada, [Deposited { amount: 10 }])
        .when(transfer(3))
        .then_events(&ada, [Withdrawn { amount: 3 }])
        .then_events(&grace, [Deposited { amount: 3 }])
        .then_state_of(&grace, |account| assert_eq!(account.balance, 3))
        .when(transfer(8))
        .then_error(TransferError::InsufficientFunds { available: 7 });
}

fn moves() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((0..3_u64, 1..3_u64, 0..50_u64), 0..30)
}

proptest! {
    #[test]
    fn transfers_neither_make_nor_lose_money(moves in moves()) {
        let accounts = [AccountId(0), AccountId(1), AccountId(2)];
        let mut bank = given();
        for account in &accounts {
            bank.record(account, [Deposited { amount: 100 }]);
        }
        for (from, further, amount) in moves {
            let (from, to) = (AccountId(from), AccountId((from + further) % 3));
            // A refusal is fine, and writes nothing; any other failure is not.
            let result = bank.execute(Transfer { from, to, amount });
            let refused = matches!(result, Err(eventcore::CommandError::BusinessRuleViolation(_)));
            prop_assert!(result.is_ok() || refused);
        }
        let mut total = 0;
        for account in &accounts {
            // A balance never drops below zero: the subtraction would panic.
            for event in bank.events_of(account) {
                match event {
                    Deposited { amount } => total += amount,
                    Withdrawn { amount } => total -= amount,
                }
            }
        }
        prop_assert_eq!(total, 300);
    }
}

#[test]
fn a_store_that_fails() {
    use eventcore::{memory::MemoryEventStore, testing::ChaosStore};

    let store = ChaosStore::new(MemoryEventStore::new(), 7)
        .conflicts(0.2)
        .unknown_after_commit(0.1);
    assert_eq!(store.counts().conflicts, 0);
}

mod my_store {
    use eventcore::memory::MemoryEventStore as MyStore;

    eventcore::contract_tests!(async { MyStore::new() });
}
