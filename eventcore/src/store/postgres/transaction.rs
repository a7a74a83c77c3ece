//! What a projection writes through: [`PostgresTransaction`].

use std::{fmt, sync::Arc, time::Duration};

use tokio_postgres::{Row, types::ToSql};

use super::{error::Failure, pool::Connection, projections::Place};
use crate::store::EventStoreError;

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
    /// A server that hangs or is gone, or a deadlock: no fault of the event.
    broken: bool,
}

impl PostgresTransaction {
    pub(super) fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            open: None,
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

    /// Runs one statement; says how many rows it changed.
    ///
    /// # Errors
    /// What the server says, after which the transaction can only be undone.
    pub async fn execute(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, EventStoreError> {
        let ran = match self.connection().await {
            Ok(connection) => connection.execute_sql(sql, parameters).await,
            Err(failure) => Err(failure),
        };
        ran.map_err(|failure| self.failed(&failure))
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
        let ran = match self.connection().await {
            Ok(connection) => connection.query_sql(sql, parameters).await,
            Err(failure) => Err(failure),
        };
        ran.map_err(|failure| self.failed(&failure))
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// What the server says, after which the transaction can only be undone.
    pub async fn execute_batch(&mut self, sql: &str) -> Result<(), EventStoreError> {
        let ran = match self.connection().await {
            Ok(connection) => connection.batch(sql).await,
            Err(failure) => Err(failure),
        };
        ran.map_err(|failure| self.failed(&failure))
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.broken
    }

    /// Ends it with a commit.
    pub(super) async fn commit(mut self) -> Result<(), EventStoreError> {
        let Some(mut connection) = self.open.take() else {
            return Ok(());
        };
        match connection.batch("COMMIT").await {
            Ok(()) => Ok(()),
            Err(failure) => {
                connection.discard();
                Err(failure.of_commit())
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
