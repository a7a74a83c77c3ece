//! The transaction that a projection writes through: [`PostgresTransaction`].

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use tokio_postgres::{Row, types::ToSql};

use crate::postgres::{
    connection::{
        pipelined::Queued,
        pool::{Connection, QUALIFIED, Scope},
        statement::{Parameters, identifier},
    },
    error::Failure,
    read_model::{
        namespace::{Namespace, forbidden},
        open::OpenTransaction,
        target::{Kind, Target},
    },
};
use crate::{
    projection::{Forbidden, LeaseError},
    store::EventStoreError,
};

/// The maximum number of statements in flight.
const UNDER_WAY: usize = 128;

/// A transaction of the database that holds the events, through which a projection writes.
///
/// It begins when it is first used, and only then takes a connection. Unqualified table names refer
/// to the schema of the projection's read model or, in a rebuild, to the schema of the new read
/// model. The first transaction that is used creates the schema. Statements are prepared once for
/// each connection.
///
/// Errors contain the server's message; [`tokio_postgres::Error`] is the source of their source.
pub struct PostgresTransaction {
    target: Arc<Target>,
    open: Option<OpenTransaction>,
    /// The schema that unqualified names refer to.
    scope: Scope,
    /// `true` if this transaction has created the schema.
    makes_schema: bool,
    /// `true` if the projection has used it.
    is_used: bool,
    /// Statements that were sent and have no response yet, in order.
    queued: VecDeque<Queued>,
    /// `true` after a failure that is not the event's fault: a server that hangs or is gone, or a
    /// deadlock.
    broken: bool,
    forbidden: Option<Forbidden>,
}

impl PostgresTransaction {
    pub(super) fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            open: None,
            scope: QUALIFIED,
            makes_schema: false,
            is_used: false,
            queued: VecDeque::new(),
            broken: false,
            forbidden: None,
        }
    }

    /// Begins the transaction for the projection's own statements, unless it has begun.
    async fn begin(&mut self) -> Result<(), EventStoreError> {
        if self.forbidden.is_none() && self.open.is_none() {
            self.is_used = true;
            match self.try_begin().await {
                Ok(begun) => self.forbidden = begun.err(),
                // No statement of the projection was sent.
                Err(failure) => {
                    self.broken = true;
                    return Err(failure.nothing_written());
                }
            }
        }
        match &self.forbidden {
            None => Ok(()),
            Some(forbidden) => Err(EventStoreError::Other {
                source: Box::new(forbidden.clone()),
            }),
        }
    }

    async fn try_begin(&mut self) -> Result<Result<(), Forbidden>, Failure> {
        let target = self.target.clone();
        let parameters: Parameters<'_> = &[
            &target.schema,
            &identifier(&target.schema),
            &target.store,
            &target.key,
        ];
        let (mut open, rows) =
            OpenTransaction::begin_with(&target.pool, BEGIN_USED, &target.enter, parameters)
                .await?;
        let row = rows.first();
        let schema: Option<Scope> = row.map(|row| row.try_get(0)).transpose()?.flatten();
        let is_made = row.map(|row| row.try_get(1)).transpose()?.unwrap_or(false);
        let ready = match schema {
            Some(schema) if is_made => Ok(schema),
            _ => make_schema(&mut open, &target, is_made).await?,
        };
        self.open = Some(open);
        Ok(ready.map(|schema| {
            self.scope = schema;
            self.makes_schema = !is_made;
        }))
    }

    fn connection(&mut self) -> Result<&mut Connection, Failure> {
        match &mut self.open {
            Some(open) => open.connection(),
            None => Err(Failure::NoAnswer(Duration::ZERO)),
        }
    }

    fn failed(&mut self, failure: &Failure) -> EventStoreError {
        let error = failure.nothing_written();
        self.broken |= error.is_transient() || !failure.is_of_server();
        error
    }

    /// Waits for the responses to queued statements until at most `missing` are outstanding.
    async fn settle(&mut self, missing: usize) -> Result<(), Failure> {
        while self.queued.len() > missing
            && let Some(queued) = self.queued.pop_front()
        {
            self.connection()?.settle(queued).await?;
        }
        Ok(())
    }

    /// Runs a statement and waits for its response. By then the queued statements have theirs, and
    /// their failure takes precedence: the server refuses everything that follows.
    async fn run<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Connection, Scope) -> Result<T, Failure>,
    ) -> Result<T, EventStoreError> {
        self.begin().await?;
        let scope = self.scope;
        let ran = match self.connection() {
            Ok(connection) => work(connection, scope).await,
            Err(failure) => Err(failure),
        };
        let ran = match self.settle(0).await {
            // The first error of the server is more useful than a connection lost afterwards.
            Err(first)
                if first.is_of_server() || !ran.as_ref().is_err_and(Failure::is_of_server) =>
            {
                Err(first)
            }
            _ => ran,
        };
        ran.map_err(|failure| self.failed(&failure))
    }

    /// Sends one statement without waiting for its response: hundreds take one round trip rather
    /// than one each.
    ///
    /// A failure is returned by the next [`execute`](Self::execute) or [`query`](Self::query), or
    /// at the end of the batch. The batch's events are then applied again one by one, to find the
    /// one that caused it.
    ///
    /// # Errors
    /// The error from the server for an earlier statement, or for preparing this one. After an
    /// error the transaction can only be rolled back.
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
        self.begin().await?;
        let sent = match self.settle(UNDER_WAY - 1).await {
            Ok(()) => self.send(sql, parameters).await,
            Err(failure) => Err(failure),
        };
        sent.map_err(|failure| self.failed(&failure))
    }

    async fn send(&mut self, sql: &str, parameters: Parameters<'_>) -> Result<(), Failure> {
        let scope = self.scope;
        let queued = self.connection()?.queue_sql(scope, sql, parameters).await;
        match queued {
            Ok(queued) => self.queued.extend(queued),
            // It could not be prepared, perhaps because of an earlier queued statement.
            Err(failure) => {
                self.settle(0).await?;
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Waits for all [queued](Self::queue) statements.
    ///
    /// # Errors
    /// The error from the server for the first statement that failed. After an error the
    /// transaction can only be rolled back.
    pub async fn flush(&mut self) -> Result<(), EventStoreError> {
        let settled = self.settle(0).await;
        settled.map_err(|failure| self.failed(&failure))
    }

    /// Runs one statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// The error from the server. After an error the transaction can only be rolled back.
    pub async fn execute(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, EventStoreError> {
        self.run(async |connection: &mut Connection, scope| {
            connection.execute_sql(scope, sql, parameters).await
        })
        .await
    }

    /// Reads rows, including what the transaction has written.
    ///
    /// # Errors
    /// The error from the server. After an error the transaction can only be rolled back.
    pub async fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, EventStoreError> {
        self.run(async |connection: &mut Connection, scope| {
            connection.query_sql(scope, sql, parameters).await
        })
        .await
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// The error from the server. After an error the transaction can only be rolled back.
    pub async fn execute_batch(&mut self, sql: &str) -> Result<(), EventStoreError> {
        self.run(async |connection: &mut Connection, _| connection.batch(sql).await)
            .await
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.broken
    }

    pub(super) fn forbidden(&self) -> Option<&Forbidden> {
        self.forbidden.as_ref()
    }

    /// Returns `true` if the projection has used it.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    /// Returns the schema that this transaction has created, for `projections`.
    pub(super) fn made_schema(&self) -> Option<&str> {
        self.makes_schema.then_some(&*self.target.schema)
    }

    /// Returns the open transaction for the runner's statements, whose names are qualified. Begins
    /// it if the projection has not used it.
    pub(super) async fn own(&mut self) -> Result<&mut OpenTransaction, Failure> {
        self.settle(0).await?;
        let open = match self.open.take() {
            Some(open) => open,
            None => OpenTransaction::begin(&self.target.pool, BEGIN).await?,
        };
        Ok(self.open.insert(open))
    }

    /// Commits the transaction.
    pub(super) async fn commit(mut self) -> Result<(), LeaseError> {
        self.flush().await?;
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        open.commit().await.map_err(|failure| {
            if failure.is_violation() {
                LeaseError::Refused(failure.nothing_written())
            } else {
                failure.of_commit().into()
            }
        })
    }
}

/// Begins a transaction for a projection. Its commit becomes durable a moment later: a crash undoes
/// the rows together with the checkpoint. Statements are planned with the server's default
/// settings. The setting `eventcore_batch.state` disappears with the transaction, which reveals a
/// projection that ends the transaction itself.
const BEGIN_USED: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
     SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL plan_cache_mode TO DEFAULT;
     SET LOCAL row_security TO DEFAULT;
     SET LOCAL eventcore_batch.state = 'open'";

/// Begins a transaction that the projection does not use.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
     SET LOCAL eventcore_batch.state = 'open'";

/// Creates the schema of a read model and returns its object id, or the reason why it may not be
/// created.
async fn make_schema(
    open: &mut OpenTransaction,
    target: &Target,
    is_made: bool,
) -> Result<Result<Scope, Forbidden>, Failure> {
    let schema = &*target.schema;
    if is_made || target.kind == Kind::Rebuild {
        let reason = match target.kind {
            Kind::Live => {
                "it was dropped, and the read model with it; run `start_rebuild` to build it again"
            }
            Kind::Rebuild => {
                "it was dropped, because another rebuild of this projection was completed; start a new one if necessary"
            }
        };
        return Ok(Err(forbidden(
            format!("schema `{schema}`"),
            reason.to_owned(),
        )));
    }
    let found = Namespace::look(open, schema).await?;
    if let Err(forbidden) = found.check_free(schema, &target.store) {
        return Ok(Err(forbidden));
    }
    if let Some(oid) = found.oid {
        return Ok(Ok(oid));
    }
    open.batch(&format!("CREATE SCHEMA {}", identifier(schema)))
        .await?;
    let made = Namespace::look(open, schema).await?;
    Ok(Ok(made.oid.unwrap_or_default()))
}

impl fmt::Debug for PostgresTransaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction")
            .field("schema", &self.target.schema)
            .field("begun", &self.open.is_some())
            .finish_non_exhaustive()
    }
}
