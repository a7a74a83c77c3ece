//! What a projection writes through: [`PostgresTransaction`].

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use tokio_postgres::{Row, types::ToSql};

use crate::postgres::{
    connection::pipelined::Queued, connection::pool::Connection, connection::statement::Parameters,
    error::Failure, read_model::database::Place,
};
use crate::{projection::LeaseError, store::EventStoreError};

/// The most statements that are under way.
const UNDER_WAY: usize = 128;

/// A transaction of the database that holds the events, for a projection to write through.
///
/// It begins when it is first used, and takes a connection then. Table names without a schema mean those of the
/// connection's search path; in a rebuild, those of a schema where the new read model is built. Statements are prepared
/// once for each connection.
///
/// The errors name what the server says; [`tokio_postgres::Error`] is the source of their source.
pub struct PostgresTransaction {
    place: Arc<Place>,
    open: Option<Connection>,
    /// What was sent and is not answered yet, in order.
    queued: VecDeque<Queued>,
    /// A server that hangs or is gone, or a deadlock: no fault of the event.
    broken: bool,
}

impl PostgresTransaction {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            open: None,
            queued: VecDeque::new(),
            broken: false,
        }
    }

    async fn connection(&mut self) -> Result<&mut Connection, Failure> {
        if self.open.is_none() {
            let mut connection = self.place.pool.get().await?;
            if let Err(failure) = connection.batch(&self.place.begin).await {
                connection.discard();
                return Err(failure);
            }
            self.open = Some(connection);
        }
        // It is there now.
        self.open.as_mut().ok_or(Failure::NoAnswer(Duration::ZERO))
    }

    fn failed(&mut self, failure: &Failure) -> EventStoreError {
        let error = failure.nothing_written();
        self.broken |= error.is_transient() || !failure.is_of_server();
        error
    }

    /// Waits for the answers to what is queued, until no more than so many are missing.
    async fn settle(&mut self, missing: usize) -> Result<(), Failure> {
        while self.queued.len() > missing
            && let Some(queued) = self.queued.pop_front()
        {
            self.connection().await?.settle(queued).await?;
        }
        Ok(())
    }

    /// Runs what waits for its answer. What was queued has its answer by then, and its failure comes first: the server
    /// refuses all that follows.
    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, EventStoreError> {
        let ran = match self.connection().await {
            Ok(connection) => work(connection).await,
            Err(failure) => Err(failure),
        };
        let ran = match self.settle(0).await {
            // What the server said is worth more than that it was gone afterwards.
            Err(first)
                if first.is_of_server() || !ran.as_ref().is_err_and(Failure::is_of_server) =>
            {
                Err(first)
            }
            _ => ran,
        };
        ran.map_err(|failure| self.failed(&failure))
    }

    /// Sends one statement, and does not wait for its answer: hundreds take one round trip rather than one each.
    ///
    /// If it fails, the next [`execute`](Self::execute) or [`query`](Self::query) says so, or the end of the batch, and the
    /// projection's events are applied once more, one by one, to find which one it was.
    ///
    /// # Errors
    /// What the server says of an earlier statement or of the text of this one, after which the transaction can only be
    /// undone.
    ///
    /// ```no_run
    /// # async fn apply(tx: &mut eventcore::postgres::PostgresTransaction) -> Result<(), eventcore::EventStoreError> {
    /// let (sku, count) = ("tea", 3_i64);
    /// tx.queue("UPDATE stock SET count = count + $2 WHERE sku = $1", &[&sku, &count]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn queue(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), EventStoreError> {
        let sent = match self.settle(UNDER_WAY - 1).await {
            Ok(()) => self.send(sql, parameters).await,
            Err(failure) => Err(failure),
        };
        sent.map_err(|failure| self.failed(&failure))
    }

    async fn send(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<(), Failure> {
        let queued = self.connection().await?.queue_sql(sql, parameters).await;
        match queued {
            Ok(queued) => self.queued.extend(queued),
            // It could not be prepared, perhaps because of what was queued before.
            Err(failure) => {
                self.settle(0).await?;
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Waits for all that was [queued](Self::queue).
    ///
    /// # Errors
    /// What the server says of the first that failed, after which the transaction can only be undone.
    pub async fn flush(&mut self) -> Result<(), EventStoreError> {
        let settled = self.settle(0).await;
        settled.map_err(|failure| self.failed(&failure))
    }

    /// Runs one statement; says how many rows it changed.
    ///
    /// # Errors
    /// What the server says, after which the transaction can only be undone.
    pub async fn execute(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, EventStoreError> {
        self.run(async |connection: &mut Connection| connection.execute_sql(sql, parameters).await)
            .await
    }

    /// Reads rows, what the transaction has written included.
    ///
    /// # Errors
    /// What the server says, after which the transaction can only be undone.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, EventStoreError> {
        self.run(async |connection: &mut Connection| connection.query_sql(sql, parameters).await)
            .await
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// What the server says, after which the transaction can only be undone.
    pub async fn execute_batch(&mut self, sql: &str) -> Result<(), EventStoreError> {
        self.run(async |connection: &mut Connection| connection.batch(sql).await)
            .await
    }

    pub(crate) fn is_usable(&self) -> bool {
        !self.broken
    }

    /// Ends it with a commit.
    pub(crate) async fn commit(mut self) -> Result<(), LeaseError> {
        self.flush().await?;
        let Some(mut connection) = self.open.take() else {
            return Ok(());
        };
        match connection.batch("COMMIT").await {
            Ok(()) => Ok(()),
            Err(failure) => {
                connection.discard();
                Err(if failure.is_violation() {
                    LeaseError::Refused(failure.nothing_written())
                } else {
                    failure.of_commit().into()
                })
            }
        }
    }
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        let Some(mut connection) = self.open.take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    if connection.batch("ROLLBACK").await.is_err() {
                        connection.discard();
                    }
                });
            }
            Err(_) => connection.discard(),
        }
    }
}

impl fmt::Debug for PostgresTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction")
            .field("begun", &self.open.is_some())
            .finish_non_exhaustive()
    }
}
