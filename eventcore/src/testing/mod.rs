//! For tests: the contract suite that every store passes, memory, SQLite and a user's own.
//!
//! ```ignore
//! mod my_store {
//!     eventcore::contract_tests!(async { MyStore::new() });
//! }
//! ```

pub mod contract;
