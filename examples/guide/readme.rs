//! The code of the README: transfers between accounts, and their balances.
#![allow(dead_code, reason = "the README shows more than its tests use")]

use eventcore::{
    Command, CommandError, CommandLogic, Event, RetryPolicy, StreamKey, StreamState, execute, load,
    require, sqlite::SqliteEventStore,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

// The state of one account: written once, used by every command and every read.
#[derive(Default)]
struct Account {
    balance: u64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { .. } => {}
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
struct AccountId(String); // any type with Display + FromStr inside: String, Uuid, u64 …

#[derive(Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
    amount: u64,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("only {available} available")]
struct InsufficientFunds {
    available: u64,
}

impl CommandLogic for Transfer {
    type State = (); // the states of the streams are enough
    type Error = InsufficientFunds; // your own type; comes back typed, not boxed

    // Pure: no I/O, no clock. On `Err` nothing is written. The derive made `TransferStreams`.
    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), InsufficientFunds> {
        let (amount, available) = (self.amount, streams.from.balance);
        require!(amount <= available, InsufficientFunds { available });
        streams.from.append(AccountEvent::Withdrawn { amount });
        streams.to.append(AccountEvent::Deposited { amount });
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = SqliteEventStore::open("bank.db").await?;
    let (ada, grace) = (AccountId("ada".into()), AccountId("grace".into()));
    let transfer = Transfer {
        from: ada.clone(),
        to: grace,
        amount: 5,
    };
    match execute(&store, transfer, RetryPolicy::new()).await {
        Ok(done) => println!("committed at position {}", done.position()),
        Err(CommandError::BusinessRuleViolation(refused)) => println!("refused: {refused}"),
        Err(failed) => return Err(failed.into()),
    }
    let account = load(&store, &ada).await?; // the current state, without a command
    println!("{} at version {}", account.balance, account.version());
    Ok(())
}

use std::time::Duration;

use eventcore::RecordedEvent;
use eventcore::sqlite::{SqliteTransaction, rusqlite};
use eventcore::{
    EventFeed,
    projection::{Projection, ProjectionRunner},
};

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent), // reads the category `account`, found by an index
}

struct Balances;

impl Projection<SqliteTransaction> for Balances {
    type Feed = Ledger;
    type Error = rusqlite::Error;
    const NAME: &'static str = "balances";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> rusqlite::Result<()> {
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS balances (account TEXT PRIMARY KEY, amount INTEGER NOT NULL)",
        )
    }

    async fn apply(
        &self,
        event: Ledger,
        _: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> rusqlite::Result<()> {
        let Ledger::Account(AccountId(account), event) = event;
        let (sql, amount) = match event {
            AccountEvent::Opened { .. } => return Ok(()),
            AccountEvent::Deposited { amount } => (
                "INSERT INTO balances VALUES (?1, ?2) ON CONFLICT DO UPDATE SET amount = amount + ?2",
                amount,
            ),
            AccountEvent::Withdrawn { amount } => (
                "UPDATE balances SET amount = amount - ?2 WHERE account = ?1",
                amount,
            ),
        };
        tx.execute(sql, (account, amount))?;
        Ok(())
    }
}

async fn run(
    store: SqliteEventStore,
    transfer: Transfer,
    timeout: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    let balances = ProjectionRunner::new(store.clone(), Balances).start();
    let done = execute(&store, transfer, RetryPolicy::new()).await?;
    // Read your own writes: wait until the rows include what the command wrote.
    balances.wait_for(done.position(), timeout).await?;
    balances.stop().await?;
    Ok(())
}

/// The longest time that a busy machine may need.
const PATIENCE: Duration = Duration::from_mins(10);

/// A command that opens an account with 10 in it.
#[derive(Command)]
struct Open {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Open {
    type State = ();
    type Error = std::convert::Infallible;

    fn handle(&self, (): &(), streams: OpenStreams<'_>) -> Result<(), Self::Error> {
        let owner = self.account.0.clone();
        streams.account.append(AccountEvent::Opened { owner });
        streams
            .account
            .append(AccountEvent::Deposited { amount: 10 });
        Ok(())
    }
}

#[tokio::test]
async fn a_transfer_moves_money_that_the_balances_show() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(folder.path().join("bank.db"))
        .await
        .unwrap();
    let open = Open {
        account: AccountId("ada".into()),
    };
    execute(&store, open, RetryPolicy::new()).await.unwrap();
    let transfer = |amount| Transfer {
        from: AccountId("ada".into()),
        to: AccountId("grace".into()),
        amount,
    };
    run(store.clone(), transfer(4), PATIENCE).await.unwrap();
    let rows = rusqlite::Connection::open(store.read_model("balances")).unwrap();
    let mut balances = rows
        .prepare("SELECT amount FROM balances ORDER BY account")
        .unwrap();
    let balances: Vec<u64> = balances
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(balances, [6, 4]);
    let refused = execute(&store, transfer(7), RetryPolicy::new()).await;
    let Err(CommandError::BusinessRuleViolation(refused)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(refused, InsufficientFunds { available: 6 });
    let ada = load(&store, &AccountId("ada".into())).await.unwrap();
    assert_eq!((ada.balance, ada.version().get()), (6, 3));
}

#[test]
fn a_transfer_moves_money_that_is_there() {
    use eventcore::testing::given;

    let (ada, grace) = (AccountId("ada".into()), AccountId("grace".into()));
    let transfer = Transfer {
        from: ada.clone(),
        to: grace.clone(),
        amount: 3,
    };
    given()
        .events(&ada, [AccountEvent::Deposited { amount: 10 }])
        .when(transfer)
        .then_events(&ada, [AccountEvent::Withdrawn { amount: 3 }])
        .then_events(&grace, [AccountEvent::Deposited { amount: 3 }])
        .then_state_of(&ada, |account| assert_eq!(account.balance, 7));
}
