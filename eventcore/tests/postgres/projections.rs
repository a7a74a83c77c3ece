//! Projections in PostgreSQL only: queued statements fail later than they are sent, and yet where they
//! belong.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    EventStoreError, Position, RecordedEvent,
    postgres::{PostgresConfig, PostgresTransaction, tokio_postgres},
    projection::{
        ErrorPolicy, Projection, ProjectionError, ProjectionRunner, ProjectionState, replay, status,
    },
};

use crate::chain::chain;
use crate::{
    projection::{Db, Postgres, add},
    server,
};

const SOON: Duration = Duration::from_mins(10);

/// Queues what it prepares; the server refuses the second statement.
struct Unprepared;

impl Projection<PostgresTransaction> for Unprepared {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "unprepared";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        tx.execute_batch(
            "CREATE TABLE numbers (number BIGINT CONSTRAINT not_two CHECK (number <> 2))",
        )
        .await?;
        for number in 1..=3_i64 {
            tx.queue("INSERT INTO numbers VALUES ($1)", &[&number])
                .await?;
        }
        Ok(())
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_prepare_has_queued_fails_as_prepare() {
    let db = Postgres::fresh().await;
    let runner = ProjectionRunner::new(db.store().clone(), Unprepared);
    let error = runner.run_until(std::future::pending()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ProjectionError::Prepare {
                projection: "unprepared",
                ..
            }
        ),
        "{error:?}"
    );
    let message = chain(&error);
    assert!(
        message.contains("not_two") && message.contains("prepare"),
        "{message}"
    );
    let seen = status(db.store(), db.store(), "unprepared").await.unwrap();
    assert_eq!(seen.leader, None, "it holds the lease");
}

/// Refuses an event at first; then the connection breaks some times while it is applied.
#[derive(Default)]
struct Broken(Arc<AtomicU32>);

impl Projection<PostgresTransaction> for Broken {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "broken";

    async fn apply(
        &self,
        event: RecordedEvent,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        if event.position.get() != 5 {
            return Ok(());
        }
        let sql = match self.0.load(Ordering::Relaxed) {
            0 => "SELECT 1 / 0",
            1 | 2 => "SELECT pg_terminate_backend(pg_backend_pid())",
            _ => return Ok(()),
        };
        let done = tx.execute(sql, &[]).await.map(drop);
        if self.0.load(Ordering::Relaxed) > 0 {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        done
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_loses_its_connection_is_made_later() {
    let db = Postgres::fresh().await;
    add(db.store(), 1, 9).await;
    let broken = Broken::default();
    let times = broken.0.clone();
    let running = ProjectionRunner::new(db.store().clone(), broken)
        .on_error(ErrorPolicy::park().attempts(1))
        .start();
    running.wait_for(Position::new(9), SOON).await.unwrap();
    assert_eq!(running.status().await.unwrap().parked, 1);
    times.store(1, Ordering::Relaxed);
    assert_eq!(replay(db.store(), "broken", None).await.unwrap(), 1);
    let started = Instant::now();
    loop {
        let seen = running.status().await.unwrap();
        if seen.parked == 0 && seen.state == ProjectionState::Live {
            break;
        }
        assert!(
            started.elapsed() < SOON && !running.is_finished(),
            "{seen:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(times.load(Ordering::Relaxed), 3, "it broke twice");
    running.stop().await.unwrap();
}

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// One of several that count in rows of their own.
struct Counting<const NUMBER: usize>;

impl<const NUMBER: usize> Projection<PostgresTransaction> for Counting<NUMBER> {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = NAMES[NUMBER];

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        let sql =
            "CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, events BIGINT NOT NULL)";
        tx.execute_batch(sql).await
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        let sql = "INSERT INTO counts VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET events = counts.events + 1";
        tx.queue(sql, &[&NAMES[NUMBER]]).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_projections_share_few_connections() {
    let db = Postgres::fresh().await;
    let url = server::url();
    let config = PostgresConfig::new(&url).unwrap();
    let config = server::patient(config.schema(db.location()).unwrap()).pool_size(2);
    let store = config.connect().await.unwrap();
    macro_rules! start {
        ($($number:literal)*) => {
            [$(ProjectionRunner::new(store.clone(), Counting::<$number>).start()),*]
        };
    }
    let running = start!(0 1 2 3 4 5 6 7);
    for _ in 0..20 {
        let position = add(&store, 1, 50).await;
        for one in &running {
            one.wait_for(position, SOON).await.unwrap();
        }
    }
    for one in running {
        one.stop().await.unwrap();
    }
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let counts = NAMES.map(|name| {
        let schema = store.read_model(name);
        format!("SELECT name, events FROM {schema}.counts")
    });
    let sql = format!("{} ORDER BY name", counts.join(" UNION ALL "));
    let rows = client.query(&sql, &[]).await.unwrap();
    let counts: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let expected: Vec<_> = NAMES
        .iter()
        .map(|name| ((*name).to_owned(), 1000))
        .collect();
    assert_eq!(counts, expected);
}

/// A statement that reads or writes events, on a connection that the projection got.
struct Planned {
    /// Returns the plan of a projection's own statement.
    mode: String,
    /// The connection and the text.
    what: (i32, String),
    name: String,
    custom_plans: i64,
}

#[derive(Clone, Default)]
struct Plans(Arc<Mutex<Vec<Planned>>>);

impl Projection<PostgresTransaction> for Plans {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "plans";

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        let sql = "SELECT current_setting('plan_cache_mode'), pg_backend_pid(), statement, name, custom_plans
                     FROM pg_prepared_statements WHERE statement ~ '\\.(events|append)\\M'";
        let rows = tx.query(sql, &[]).await?;
        let planned = rows.iter().map(|row| Planned {
            mode: row.get(0),
            what: (row.get(1), row.get(2)),
            name: row.get(3),
            custom_plans: row.get(4),
        });
        self.0.lock().unwrap().extend(planned);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_on_events_are_planned_once_for_a_log_of_one_size() {
    let store = server::config().pool_size(2).connect().await.unwrap();
    let plans = Plans::default();
    let running = ProjectionRunner::new(store.clone(), plans.clone()).start();
    let rounds = async || {
        for _ in 0..20 {
            let position = add(&store, 1, 1).await;
            running.wait_for(position, SOON).await.unwrap();
        }
    };
    let prepared_again = || {
        let (plans, mut names) = (plans.0.lock().unwrap(), HashMap::new());
        for planned in &*plans {
            assert_eq!((planned.mode.as_str(), planned.custom_plans), ("auto", 0));
            let first = names.entry(planned.what.clone()).or_insert(&planned.name);
            if *first != &planned.name {
                return true;
            }
        }
        assert!(!names.is_empty());
        false
    };
    rounds().await;
    assert!(!prepared_again());
    for _ in 0..3 {
        add(&store, 1, 1000).await;
    }
    rounds().await;
    assert!(prepared_again());
    running.stop().await.unwrap();
}

/// Selects all columns of a table, in one way or the other.
struct AllColumns {
    queues: bool,
}

impl Projection<PostgresTransaction> for AllColumns {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "sums";

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        let sql = "SELECT * FROM wide";
        if self.queues {
            return tx.queue(sql, &[]).await;
        }
        tx.query(sql, &[]).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_no_longer_fits_its_table_is_no_fault_of_the_event() {
    for queues in [false, true] {
        let db = Postgres::fresh().await;
        db.run("CREATE TABLE wide (number BIGINT)").await;
        let running = ProjectionRunner::new(db.store().clone(), AllColumns { queues })
            .on_error(ErrorPolicy::stop())
            .start();
        for column in ["a", "b", "c"] {
            let position = add(db.store(), 1, 30).await;
            running.wait_for(position, SOON).await.unwrap();
            db.run(&format!("ALTER TABLE wide ADD COLUMN {column} TEXT"))
                .await;
        }
        let position = add(db.store(), 1, 30).await;
        running.wait_for(position, SOON).await.unwrap();
        assert_eq!(running.status().await.unwrap().parked, 0);
        running.stop().await.unwrap();
    }
}

/// Ends the transaction with this.
struct Ending {
    in_prepare: bool,
    with: &'static str,
}

impl Projection<PostgresTransaction> for Ending {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "ending";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        if self.in_prepare {
            tx.execute_batch(self.with).await?;
        }
        Ok(())
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        tx.execute_batch(self.with).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_ends_the_transaction_is_refused() {
    for in_prepare in [false, true] {
        for with in ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "END; SELECT 1"] {
            let db = Postgres::fresh().await;
            add(db.store(), 1, 9).await;
            let mut running =
                ProjectionRunner::new(db.store().clone(), Ending { in_prepare, with })
                    .on_error(ErrorPolicy::retry())
                    .start();
            let joined = tokio::time::timeout(SOON, running.join()).await;
            let error = joined.expect(with).unwrap_err();
            assert!(
                matches!(error, ProjectionError::Forbidden { .. }),
                "{with}: {error:?}"
            );
            assert!(
                error.to_string().contains("`COMMIT` or `ROLLBACK`"),
                "{error}"
            );
            let seen = status(db.store(), db.store(), "ending").await.unwrap();
            assert_eq!(
                (seen.position, seen.leader),
                (Position::START, None),
                "{with}"
            );
        }
    }
}
