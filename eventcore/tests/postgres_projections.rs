//! What only projections in PostgreSQL do: statements that are queued fail later than they are sent, and yet where they
//! belong.

mod projection;
mod server;

use eventcore::{
    EventStoreError, RecordedEvent,
    postgres::PostgresTransaction,
    projection::{Projection, ProjectionError, ProjectionRunner, status},
};
use projection::{Db, Postgres};

/// Queues what it prepares; the server refuses the second statement.
struct Unprepared;

impl Projection<PostgresTransaction> for Unprepared {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "unprepared";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
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
    db.run("CREATE TABLE numbers (number BIGINT CONSTRAINT not_two CHECK (number <> 2))")
        .await;
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
    let message = error.to_string();
    assert!(
        message.contains("not_two") && message.contains("prepare"),
        "{message}"
    );
    let seen = status(db.store(), db.store(), "unprepared").await.unwrap();
    assert_eq!(seen.leader, None, "it holds the lease");
}
