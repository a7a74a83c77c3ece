//! A projection whose statements are data.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use eventcore::{
    EventStoreError, RecordedEvent, postgres::PostgresTransaction, projection::Projection,
};

/// `:n` in the statements of `apply` is the position of the event.
#[derive(Debug, Clone, Default)]
pub struct Script {
    pub prepare: String,
    pub apply: String,
    /// Calls of `apply`.
    pub applied: Arc<AtomicU64>,
}

impl Script {
    pub fn new(prepare: impl Into<String>, apply: impl Into<String>) -> Self {
        Self {
            prepare: prepare.into(),
            apply: apply.into(),
            applied: Arc::default(),
        }
    }

    async fn run_prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        if self.prepare.is_empty() {
            return Ok(());
        }
        tx.execute_batch(&self.prepare).await
    }

    async fn run_apply(
        &self,
        event: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        if self.apply.is_empty() {
            return Ok(());
        }
        let sql = self.apply.replace(":n", &event.position.to_string());
        tx.execute_batch(&sql).await
    }
}

impl Projection<PostgresTransaction> for Script {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "model";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        self.run_prepare(tx).await
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        event: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        self.run_apply(event, tx).await
    }
}

/// The same under another name.
pub struct Other(pub Script);

impl Projection<PostgresTransaction> for Other {
    type Feed = RecordedEvent;
    type Error = EventStoreError;
    const NAME: &'static str = "other";

    async fn prepare(&self, tx: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        self.0.run_prepare(tx).await
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        event: &RecordedEvent,
        tx: &mut PostgresTransaction,
    ) -> Result<(), EventStoreError> {
        self.0.run_apply(event, tx).await
    }
}
