//! The chapter on projections: the balances of accounts.
#![allow(dead_code, reason = "a chapter shows more than its tests use")]

use std::{convert::Infallible, time::Duration};

use eventcore::{Command, CommandLogic, EventStore, ExecutionResponse, sqlite::SqliteEventStore};

use eventcore::sqlite::{SqliteTransaction, rusqlite};
use eventcore::{Event, RecordedEvent, StreamKey};
use eventcore::{EventFeed, projection::Projection};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(EventFeed)]
enum Ledger {
    Account(AccountId, AccountEvent),
}

struct Balances;

impl Projection<SqliteTransaction> for Balances {
    type Feed = Ledger;
    type Error = rusqlite::Error;
    const NAME: &'static str = "balances";

    async fn prepare(&self, tx: &mut SqliteTransaction) -> rusqlite::Result<()> {
        tx.execute_batch(
            "CREATE TABLE IF NOT EXISTS balances (account INTEGER PRIMARY KEY, amount INTEGER NOT NULL)",
        )
    }

    async fn apply(
        &self,
        event: Ledger,
        _: &RecordedEvent,
        tx: &mut SqliteTransaction,
    ) -> rusqlite::Result<()> {
        let Ledger::Account(AccountId(account), event) = event;
        match event {
            AccountEvent::Opened { .. } => {
                tx.execute("INSERT INTO balances VALUES (?1, 0)", [account])?
            }
            AccountEvent::Deposited { amount } => tx.execute(
                "UPDATE balances SET amount = amount + ?2 WHERE account = ?1",
                (account, amount),
            )?,
        };
        Ok(())
    }
}

pub(crate) mod postgres {
    use super::{AccountEvent, AccountId, Ledger};
    use eventcore::projection::Projection;

    struct Balances;

    use eventcore::postgres::PostgresTransaction;
    use eventcore::{EventStoreError, RecordedEvent};

    impl Projection<PostgresTransaction> for Balances {
        type Feed = Ledger;
        type Error = EventStoreError;
        const NAME: &'static str = "balances";

        async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
            tx.execute_batch(
                "CREATE TABLE IF NOT EXISTS balances (account BIGINT PRIMARY KEY, amount BIGINT NOT NULL)",
            )
            .await
        }

        async fn apply(
            &self,
            event: Ledger,
            _: &RecordedEvent,
            tx: &mut PostgresTransaction,
        ) -> Result<(), EventStoreError> {
            let Ledger::Account(AccountId(account), event) = event;
            let account = account.cast_signed(); // PostgreSQL has no unsigned integers
            match event {
                AccountEvent::Opened { .. } => {
                    tx.queue("INSERT INTO balances VALUES ($1, 0)", &[&account])
                        .await
                }
                AccountEvent::Deposited { amount } => {
                    tx.queue(
                        "UPDATE balances SET amount = amount + $2 WHERE account = $1",
                        &[&account, &amount.cast_signed()],
                    )
                    .await
                }
            }
        }
    }

    /// Projects and rebuilds the balances in a new store, as `examples/tests/postgres.rs` does with a server.
    pub(crate) async fn check(store: eventcore::postgres::PostgresEventStore) {
        use eventcore::projection::{ErrorPolicy, ProjectionRunner, RebuildOutcome};

        let done = super::open(&store).await;
        let runner = ProjectionRunner::new(store.clone(), Balances).on_error(ErrorPolicy::stop());
        let balances = runner.clone().start();
        let timeout = std::time::Duration::from_mins(10);
        balances.wait_for(done.position(), timeout).await.unwrap();
        balances.stop().await.unwrap();
        let rebuilt = runner.start_rebuild().join().await.unwrap();
        assert_eq!(rebuilt, RebuildOutcome::Swapped);
    }
}

async fn run(
    store: SqliteEventStore,
    done: ExecutionResponse,
    timeout: Duration,
) -> Result<(), Box<dyn std::error::Error>> {
    use eventcore::projection::{ErrorPolicy, ProjectionRunner};

    let balances = ProjectionRunner::new(store.clone(), Balances)
        .on_error(ErrorPolicy::park().attempts(5))
        .start();

    // Read your own writes: wait until the rows include the events of a command.
    balances.wait_for(done.position(), timeout).await?;

    println!("{:?}", balances.status().await?);
    balances.stop().await?;
    Ok(())
}

async fn rebuild(
    store: SqliteEventStore,
) -> Result<eventcore::projection::RebuildOutcome, Box<dyn std::error::Error>> {
    use eventcore::projection::ProjectionRunner;

    let mut rebuild = ProjectionRunner::new(store, Balances).start_rebuild();
    while !rebuild.is_finished() {
        let progress = rebuild.progress().await?;
        println!(
            "{} of {}, {:?} left",
            progress.done, progress.total, progress.remaining
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let outcome = rebuild.join().await?;
    Ok(outcome)
}

mod elsewhere {
    use std::{collections::HashMap, time::Duration};

    use eventcore::{
        EventFilter, EventSelector, Position, RecordedEvent, StreamId,
        projection::{Projection, ProjectionError, ProjectionRunner},
        sqlite::SqliteEventStore,
    };
    use tokio::sync::Mutex;

    /// The documents of an index, each with its version.
    #[derive(Debug, Default)]
    pub(super) struct SearchIndex(Mutex<HashMap<StreamId, (Position, String)>>);

    impl SearchIndex {
        /// Keeps the document with the highest version.
        async fn put(
            &self,
            event: &RecordedEvent,
            version: Position,
        ) -> Result<(), std::io::Error> {
            let mut documents = self.0.lock().await;
            let document = documents.entry(event.stream.clone()).or_default();
            if version > document.0 {
                *document = (version, event.type_name.to_string());
            }
            Ok(())
        }
    }

    impl<Tx: Send> Projection<Tx> for SearchIndex {
        type Feed = RecordedEvent;
        type Error = std::io::Error;
        const NAME: &'static str = "search";

        async fn apply(
            &self,
            event: RecordedEvent,
            _: &RecordedEvent,
            _: &mut Tx,
        ) -> Result<(), std::io::Error> {
            // With the position as the version of a document, an older one never replaces a newer one.
            self.put(&event, event.position).await
        }
    }

    #[tokio::test]
    async fn an_event_that_is_applied_again_changes_nothing() {
        use eventcore::projection::subscribe;
        use futures_util::{StreamExt, TryStreamExt};

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bank.db");
        let store = SqliteEventStore::open(&file).await.unwrap();
        super::open(&store).await;
        let events = subscribe(&store, Position::START, EventFilter::All);
        let events: Vec<_> = events.take(2).try_collect().await.unwrap();
        let index = SearchIndex::default();
        for event in [&events[0], &events[1], &events[0]] {
            index.apply(event.clone(), event, &mut ()).await.unwrap();
        }
        let documents = index.0.into_inner();
        let (version, document) = &documents[&events[0].stream];
        assert_eq!((version.get(), document.as_str()), (2, "AccountDeposited"));
    }

    const SOON: Duration = Duration::from_mins(10);

    /// The version of [`SearchIndex`] that only knew accounts.
    struct SearchAccounts;

    impl<Tx: Send> Projection<Tx> for SearchAccounts {
        type Feed = (super::AccountId, super::AccountEvent);
        type Error = std::convert::Infallible;
        const NAME: &'static str = "search";

        async fn apply(
            &self,
            _: Self::Feed,
            _: &RecordedEvent,
            _: &mut Tx,
        ) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    async fn search(store: &SqliteEventStore, position: Position) {
        // Until now, the projection read only the events of accounts.
        let accounts = EventFilter::any_of([EventSelector::category("account")]);
        let search = ProjectionRunner::new(store.clone(), SearchIndex::default())
            .former_feed(&accounts)
            .start();
        search.wait_for(position, SOON).await.unwrap();
        search.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_projection_continues_from_the_checkpoint_of_its_former_feed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bank.db");
        let store = SqliteEventStore::open(&file).await.unwrap();
        let done = super::open(&store).await;
        let former = ProjectionRunner::new(store.clone(), SearchAccounts).start();
        former.wait_for(done.position(), SOON).await.unwrap();
        former.stop().await.unwrap();
        let mut unaware = ProjectionRunner::new(store.clone(), SearchIndex::default()).start();
        let refused = unaware.join().await.unwrap_err();
        assert!(
            matches!(refused, ProjectionError::FeedChanged { .. }),
            "{refused}"
        );
        for _ in 0..2 {
            let done = super::open(&store).await;
            search(&store, done.position()).await;
        }
    }
}

/// A command that opens an account with money in it.
#[derive(Debug, Command)]
struct Open {
    #[stream]
    account: AccountId,
    amount: u64,
}

impl CommandLogic for Open {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: OpenStreams<'_>) -> Result<(), Infallible> {
        let owner = "Ada".into();
        streams.account.append(AccountEvent::Opened { owner });
        let amount = self.amount;
        streams.account.append(AccountEvent::Deposited { amount });
        Ok(())
    }
}

async fn open(store: &impl EventStore) -> ExecutionResponse {
    use eventcore::{RetryPolicy, execute};

    let open = Open {
        account: AccountId(7),
        amount: 30,
    };
    execute(store, open, RetryPolicy::new()).await.unwrap()
}

#[tokio::test]
async fn balances_are_projected_and_rebuilt() {
    use eventcore::projection::RebuildOutcome;

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(folder.path().join("bank.db"))
        .await
        .unwrap();
    let done = open(&store).await;
    // The timeout is what a busy machine may need at most.
    let timeout = Duration::from_mins(10);
    run(store.clone(), done, timeout).await.unwrap();
    let balance = || {
        let rows = rusqlite::Connection::open(store.read_model("balances")).unwrap();
        let sql = "SELECT amount FROM balances WHERE account = 7";
        rows.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap()
    };
    assert_eq!(balance(), 30);
    assert_eq!(
        rebuild(store.clone()).await.unwrap(),
        RebuildOutcome::Swapped
    );
    assert_eq!(balance(), 30);
}
