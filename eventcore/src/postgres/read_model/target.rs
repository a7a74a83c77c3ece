//! The target of a read model: its schema, its row in `projections`, and the search path of its
//! transactions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use tokio_postgres::Row;

use crate::postgres::{
    connection::{
        pool::{Pool, QUALIFIED},
        statement::{Parameters, of_schema},
    },
    error::Failure,
    read_model::open::OpenTransaction,
};
use crate::store::EventStoreError;

/// The store schema for which the schemas of read models have just the names of their projections.
const DEFAULT_STORE: &str = "eventcore";

/// A read model of a store: either the live one, or a rebuild.
pub(crate) struct Target {
    pub(super) pool: Pool,
    /// The schema of the store.
    pub(super) store: Box<str>,
    /// The name of the projection.
    pub(super) name: Box<str>,
    /// The name of its row in `projections`, also used in `dead_letters`.
    pub(super) key: Box<str>,
    /// The schema that holds its tables.
    pub(super) schema: Box<str>,
    /// The schema of the live read model.
    pub(super) live_schema: Box<str>,
    pub(super) kind: Kind,
    /// The statement that makes a transaction resolve unqualified names in the schema.
    pub(super) enter: String,
    /// The fence of the last lease whose first batch was checked.
    pub(super) checked: AtomicU64,
    /// `true` if the tables of a rebuild were analyzed.
    pub(super) analyzed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    Rebuild,
}

impl Target {
    pub(crate) fn live(pool: Pool, store: &str, name: &str) -> Arc<Self> {
        Self::new(pool, store, name, Kind::Live)
    }

    /// Returns the target of a rebuild of the same projection.
    pub(super) fn rebuild(&self) -> Arc<Self> {
        Self::new(self.pool.clone(), &self.store, &self.name, Kind::Rebuild)
    }

    fn new(pool: Pool, store: &str, name: &str, kind: Kind) -> Arc<Self> {
        let live_schema = live_schema(store, name);
        let (key, schema) = match kind {
            Kind::Live => (name.to_owned(), live_schema.clone()),
            Kind::Rebuild => (format!("{name}/rebuild"), rebuild_schema(store, name)),
        };
        let enter = include_str!("../sql/read_model/enter.sql");
        Arc::new(Self {
            pool,
            store: store.into(),
            name: name.into(),
            key: key.into(),
            schema: schema.into(),
            live_schema: live_schema.into(),
            kind,
            enter: of_schema(enter, store),
            checked: AtomicU64::new(0),
            analyzed: AtomicBool::new(false),
        })
    }

    /// Rewrites a statement for the schema `eventcore` for this store.
    pub(super) fn sql(&self, sql: &str) -> String {
        of_schema(sql, &self.store)
    }

    /// Runs one statement in its own transaction.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, EventStoreError> {
        let sql = self.sql(sql);
        let asked = async {
            let mut connection = self.pool.get().await?;
            if connection.prepares() {
                return connection.query_sql(QUALIFIED, &sql, parameters).await;
            }
            // Outside a transaction, a pooler may send each statement, and even each part of one,
            // over another connection.
            drop(connection);
            let mut open = OpenTransaction::begin(&self.pool, "BEGIN").await?;
            let rows = open.query(&sql, parameters).await?;
            open.commit().await?;
            Ok(rows)
        };
        asked
            .await
            .map_err(|failure: Failure| failure.nothing_written())
    }
}

/// Returns the schema of a live read model. For a store outside the default schema, the name begins
/// with the store's schema, so that several stores in one database can run the same projections.
pub(crate) fn live_schema(store: &str, name: &str) -> String {
    if store == DEFAULT_STORE {
        name.to_owned()
    } else {
        format!("{store}_{name}")
    }
}

fn rebuild_schema(store: &str, name: &str) -> String {
    format!(
        "eventcore_rebuild_{:016x}",
        hash(&format!("{store}/{name}"))
    )
}

/// Computes FNV-1a, which is the same in every build: a rebuild is resumed by its name.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
