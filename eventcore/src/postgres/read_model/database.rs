//! The read models of a PostgreSQL store, as used by the projection runner.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use crate::postgres::{
    PostgresConfig, PostgresEventStore,
    read_model::{
        target::{Target, live_schema},
        transaction::PostgresTransaction,
    },
};
use crate::{
    Position,
    projection::{
        DeadLetter, Forbidden, LastError, Leadership, Lease, LeaseError, Progress,
        ProjectionDatabase, ProjectionIdentity, ProjectionRecord, ReadModel, Stage,
    },
    store::EventStoreError,
};

/// The read model of one projection: either the live one, or a rebuild in a separate schema.
#[derive(Clone)]
pub struct PostgresReadModel {
    target: Arc<Target>,
}

impl PostgresConfig {
    /// Returns the schema that holds the tables of a projection: the projection's name for a store
    /// in the schema `eventcore`; otherwise the store's schema, `_` and the projection's name.
    ///
    /// ```
    /// # fn f() -> Result<(), eventcore::EventStoreError> {
    /// use eventcore::postgres::PostgresConfig;
    ///
    /// let config = PostgresConfig::new("postgres://bank:secret@localhost/bank")?;
    /// assert_eq!(config.read_model("balances"), "balances");
    /// assert_eq!(config.schema("ledger")?.read_model("balances"), "ledger_balances");
    /// # Ok(()) }
    /// # f().unwrap();
    /// ```
    pub fn read_model(&self, projection: &str) -> String {
        live_schema(&self.schema, projection)
    }
}

impl PostgresEventStore {
    /// Returns the schema that holds the tables of a projection, as [`PostgresConfig::read_model`] does.
    pub fn read_model(&self, projection: &str) -> String {
        live_schema(&self.shared.schema, projection)
    }
}

impl ProjectionDatabase for PostgresEventStore {
    type Transaction = PostgresTransaction;
    type ReadModel = PostgresReadModel;

    fn live(&self, name: &str) -> PostgresReadModel {
        let target = Target::live(self.shared.pool.clone(), &self.shared.schema, name);
        PostgresReadModel { target }
    }

    async fn rebuild(
        &self,
        name: &str,
        afresh: bool,
    ) -> Result<PostgresReadModel, EventStoreError> {
        let target = self.live(name).target.rebuild();
        target.open(afresh).await?;
        Ok(PostgresReadModel { target })
    }
}

impl ReadModel for PostgresReadModel {
    type Transaction = PostgresTransaction;
    const OPEN: Duration = Duration::from_millis(200);
    const ROLLS_BACK: bool = true;
    const QUEUES: bool = true;

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        Ok(work.await)
    }

    async fn lead(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        self.target.lead(leader, term, false).await
    }

    async fn seize(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        self.target.lead(leader, term, true).await
    }

    async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        self.target.renew(lease, term).await
    }

    async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        self.target.resign(lease).await
    }

    async fn identify(
        &self,
        lease: &Lease,
        identity: &ProjectionIdentity,
    ) -> Result<(), LeaseError> {
        self.target.identify(lease, identity).await
    }

    async fn begin(&self, _: &Lease) -> Result<PostgresTransaction, LeaseError> {
        Ok(PostgresTransaction::new(self.target.clone()))
    }

    async fn flush(transaction: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        transaction.flush().await
    }

    fn is_usable(transaction: &PostgresTransaction) -> bool {
        transaction.is_usable()
    }

    fn forbidden(transaction: &PostgresTransaction) -> Option<Forbidden> {
        transaction.forbidden().cloned()
    }

    async fn check(
        &self,
        transaction: &mut PostgresTransaction,
        lease: &Lease,
        stage: Stage,
    ) -> Result<(), LeaseError> {
        self.target.check(transaction, lease, stage).await
    }

    async fn commit(
        &self,
        transaction: PostgresTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        self.target.commit(transaction, lease, progress).await
    }

    async fn record_error(&self, lease: &Lease, error: &LastError) -> Result<(), EventStoreError> {
        self.target.record_error(lease, error).await
    }

    async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        self.target.record().await
    }

    async fn dead_letters(&self, after: Position) -> Result<Vec<DeadLetter>, EventStoreError> {
        self.target.dead_letters(after).await
    }

    async fn replay(&self, position: Option<Position>) -> Result<usize, EventStoreError> {
        self.target.replay(position).await
    }

    async fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> Result<bool, LeaseError> {
        self.target.swap(&rebuild.target, lease, head).await
    }
}

impl fmt::Debug for PostgresReadModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresReadModel")
            .field("projection", &self.target.name)
            .field("schema", &self.target.schema)
            .finish_non_exhaustive()
    }
}
