//! Test support for commands (`given … when … then …`), for code that must tolerate a failing store
//! ([`ChaosStore`]), and for store implementations (the [`contract`] suite). The
//! [guide](crate::guide) has a chapter on testing.
//!
//! ```
//! # #[cfg(feature = "macros")] {
//! # use eventcore::{Command, CommandLogic, Event, StreamKey, require};
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
//! # enum AccountEvent { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
//! # #[derive(Debug, Clone, PartialEq, StreamKey)]
//! # #[stream_key(category = "account", event = AccountEvent)]
//! # struct AccountId(String);
//! # #[derive(Command)]
//! # struct Withdraw { #[stream] account: AccountId, amount: u64 }
//! # #[derive(Debug, PartialEq)]
//! # enum BankError { Insufficient { available: u64 } }
//! # impl CommandLogic for Withdraw {
//! #     type State = u64;
//! #     type Error = BankError;
//! #     fn apply(&self, balance: &mut u64, event: WithdrawEvent<'_>) {
//! #         match event {
//! #             WithdrawEvent::Account(AccountEvent::Deposited { amount }) => *balance += amount,
//! #             WithdrawEvent::Account(AccountEvent::Withdrawn { amount }) => *balance -= amount,
//! #         }
//! #     }
//! #     fn handle(&self, balance: &u64, streams: WithdrawStreams<'_>) -> Result<(), BankError> {
//! #         require!(*balance >= self.amount, BankError::Insufficient { available: *balance });
//! #         streams.account.append(AccountEvent::Withdrawn { amount: self.amount });
//! #         Ok(())
//! #     }
//! # }
//! use eventcore::testing::given;
//!
//! let ada = AccountId("ada".into());
//! given()
//!     .events(&ada, [AccountEvent::Deposited { amount: 10 }])
//!     .when(Withdraw { account: ada.clone(), amount: 3 })
//!     .then_events(&ada, [AccountEvent::Withdrawn { amount: 3 }])
//!     .then_state(|balance| assert_eq!(*balance, 7))
//!     .when(Withdraw { account: ada.clone(), amount: 8 })
//!     .then_error(BankError::Insufficient { available: 7 });
//! # }
//! ```
//!
//! Run the contract suite against your own store:
//!
//! ```ignore
//! mod my_store {
//!     eventcore::contract_tests!(async { MyStore::new() });
//! }
//! ```
#![allow(clippy::panic, reason = "a test says what is wrong by panicking")]

mod chaos;
pub mod contract;
mod diff;
mod drive;
mod given;
pub mod history;
mod logic;
mod outcome;
mod snapshots;

pub use chaos::{ChaosCounts, ChaosStore};
pub use given::{Given, StreamOf, given};
pub use outcome::Outcome;
pub use snapshots::assert_snapshots_agree;
