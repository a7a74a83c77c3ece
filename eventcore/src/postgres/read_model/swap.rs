//! The swap: in one transaction the live schema is dropped and the rebuilt one takes its name,
//! together with the checkpoint and the dead letters.

use std::{sync::atomic::Ordering, time::Duration};

use crate::postgres::{
    connection::statement::{Parameters, identifier, literal},
    convert::{big, number},
    error::Failure,
    read_model::{namespace::Namespace, open::OpenTransaction, target::Target},
};
use crate::{
    Position,
    chain::chain,
    projection::{Forbidden, Lease, LeaseError},
    store::EventStoreError,
};

const LOCK: &str = include_str!("../sql/read_model/lock.sql");
const TABLES: &str = include_str!("../sql/read_model/tables.sql");
const GRANTS: &str = include_str!("../sql/read_model/grants.sql");
const DEFAULT_PRIVILEGES: &str = include_str!("../sql/read_model/default_privileges.sql");
const FUNCTION_PATHS: &str = include_str!("../sql/read_model/function_paths.sql");
const LEFT_BEHIND: &str = include_str!("../sql/read_model/left_behind.sql");
const BLOCKERS: &str = include_str!("../sql/read_model/blockers.sql");

/// Catalog functions qualify names with their schema if no other schema is on the path.
const BEGIN: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL search_path = pg_catalog, pg_temp";

/// The number of attempts to determine the outcome of a swap, and the pause between them.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(300);

/// A swap that could not acquire its locks in time.
#[derive(Debug, thiserror::Error)]
#[error("the swap waits for sessions that use the live read model: {sessions}")]
struct Blocked {
    sessions: String,
    source: Failure,
}

/// The reason why a swap changed nothing.
enum Halt {
    /// The rebuild's lease is lost.
    Lost,
    /// The live read model has advanced further.
    Behind,
    Forbidden(Forbidden),
    Failed(Failure),
    /// The commit got no response.
    Unknown(EventStoreError),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<tokio_postgres::Error> for Halt {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl Target {
    /// Replaces this read model with a rebuilt one.
    pub(super) async fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> Result<bool, LeaseError> {
        rebuild.analyze().await;
        match self.try_swap(rebuild, lease, big(head.get())).await {
            Ok(()) => Ok(true),
            Err(Halt::Behind) => Ok(false),
            Err(Halt::Lost) => Err(LeaseError::Lost),
            Err(Halt::Forbidden(forbidden)) => Err(LeaseError::Forbidden(forbidden)),
            Err(Halt::Failed(failure)) => {
                let error = self.halted(failure).await;
                Err(error.into())
            }
            Err(Halt::Unknown(error)) => self.settle_swap(rebuild, error).await,
        }
    }

    async fn try_swap(&self, rebuild: &Self, lease: &Lease, head: i64) -> Result<(), Halt> {
        let mut open = OpenTransaction::begin(&self.pool, BEGIN).await?;
        let sql =
            "SELECT position FROM eventcore.projections WHERE name = $1 AND fence = $2 FOR UPDATE";
        let built = open
            .query(&self.sql(sql), &[&rebuild.key, &big(lease.fence)])
            .await?;
        let built = big(number(built.first().ok_or(Halt::Lost)?, 0)?);
        self.check_behind(&mut open, built, head, "").await?;
        let live = Namespace::look(&mut open, &self.schema).await?;
        let is_made = rebuild.row(&mut open, &self.key).await? == Some(true);
        open.run_generated(FUNCTION_PATHS, &[&rebuild.schema, &self.schema])
            .await?;
        // Readers wait from the lock to the commit, so as much as possible is done before.
        if live.oid.is_some() {
            if is_made {
                self.check_obstacles(&mut open, rebuild).await?;
            } else {
                // The schema was created for this projection, and is empty.
                live.check_free(&self.schema, &self.store)
                    .map_err(Halt::Forbidden)?;
            }
            self.carry_over(&mut open, rebuild).await?;
        }
        open.batch(&LOCK.replace("$schema", &literal(&self.schema)))
            .await?;
        // The tables before the row, which is the order in which a batch locks them.
        self.check_behind(&mut open, built, head, "FOR UPDATE")
            .await?;
        let (old, new) = (identifier(&self.schema), identifier(&rebuild.schema));
        let drop = if is_made {
            self.check_obstacles(&mut open, rebuild).await?;
            "CASCADE"
        } else {
            "RESTRICT"
        };
        open.batch(&format!(
            "DROP SCHEMA IF EXISTS {old} {drop}; ALTER SCHEMA {new} RENAME TO {old}"
        ))
        .await?;
        self.take_over(&mut open, rebuild, built).await?;
        open.commit()
            .await
            .map_err(|failure| match failure.of_commit() {
                error @ EventStoreError::OutcomeUnknown { .. } => Halt::Unknown(error),
                _ => Halt::Failed(failure),
            })
    }

    /// Fails if the live read model has advanced further than the rebuilt one, unless the store's
    /// log ends before that position.
    async fn check_behind(
        &self,
        open: &mut OpenTransaction,
        built: i64,
        head: i64,
        lock: &str,
    ) -> Result<(), Halt> {
        let sql = format!(
            "SELECT position > $2 AND position <= $3 FROM eventcore.projections WHERE name = $1 {lock}"
        );
        let rows = open
            .query(&self.sql(&sql), &[&self.key, &built, &head])
            .await?;
        match rows.first().map(|row| row.try_get(0)).transpose()? {
            Some(true) => Err(Halt::Behind),
            Some(false) | None => Ok(()),
        }
    }

    async fn check_obstacles(
        &self,
        open: &mut OpenTransaction,
        rebuild: &Self,
    ) -> Result<(), Halt> {
        let uses = rebuild.find_obstacles(open).await?;
        if uses.is_empty() {
            return Ok(());
        }
        Err(Halt::Forbidden(Forbidden { uses }))
    }

    /// Copies the grants of the live schema to the rebuilt one, and logs what it lacks.
    async fn carry_over(&self, open: &mut OpenTransaction, rebuild: &Self) -> Result<(), Failure> {
        let schemas: Parameters<'_> = &[&self.schema, &rebuild.schema];
        for carried in [GRANTS, DEFAULT_PRIVILEGES] {
            open.run_generated(carried, schemas).await?;
        }
        let left = open.names(LEFT_BEHIND, schemas).await?;
        if !left.is_empty() {
            tracing::warn!(
                projection = &*self.name,
                schema = &*self.schema,
                objects = left.join(", "),
                "the rebuilt read model lacks objects that the live one has"
            );
        }
        Ok(())
    }

    /// Moves the checkpoint and the dead letters of the rebuild to the live projection.
    async fn take_over(
        &self,
        open: &mut OpenTransaction,
        rebuild: &Self,
        built: i64,
    ) -> Result<(), Failure> {
        let sql = "INSERT INTO eventcore.projections AS p (name, position, fence, leads_until, schema, feed, type_name)
                   SELECT $1, $2, 1, '-infinity', $3, r.feed, r.type_name FROM eventcore.projections r WHERE r.name = $4
                   ON CONFLICT (name) DO UPDATE SET position = $2, fence = p.fence + 1, leader = NULL,
                          leads_until = '-infinity', error = NULL, schema = $3, feed = excluded.feed,
                          type_name = excluded.type_name";
        open.execute(
            &self.sql(sql),
            &[&self.key, &built, &self.schema, &rebuild.key],
        )
        .await?;
        let sql = "DELETE FROM eventcore.dead_letters WHERE projection = $1";
        open.execute(&self.sql(sql), &[&self.key]).await?;
        let sql = "UPDATE eventcore.dead_letters SET projection = $1 WHERE projection = $2";
        open.execute(&self.sql(sql), &[&self.key, &rebuild.key])
            .await?;
        let sql = "DELETE FROM eventcore.projections WHERE name = $1";
        open.execute(&self.sql(sql), &[&rebuild.key]).await?;
        Ok(())
    }

    /// Collects statistics of a rebuilt read model once, so that the first readers after the swap
    /// benefit from them. The swap continues without them if that fails.
    async fn analyze(&self) {
        if self.analyzed.swap(true, Ordering::Relaxed) {
            return;
        }
        let analyzed = async {
            let mut open = OpenTransaction::begin(&self.pool, BEGIN).await?;
            let tables = open.names(TABLES, &[&self.schema]).await?;
            for table in tables {
                open.batch(&format!("ANALYZE {table}")).await?;
            }
            open.commit().await
        };
        if let Err(failure) = analyzed.await {
            tracing::debug!(
                projection = &*self.name,
                error = chain(&failure),
                "the rebuilt tables were not analyzed"
            );
        }
    }

    /// Converts the failure of a swap. If it timed out waiting for locks, the error names the
    /// sessions that hold them.
    async fn halted(&self, failure: Failure) -> EventStoreError {
        let error = failure.nothing_written();
        // A table that was dropped after it was listed is missing from the next list.
        if !matches!(error, EventStoreError::Busy { .. }) && !failure.is_undefined_table() {
            return error;
        }
        let rows = self.query(BLOCKERS, &[&self.schema]).await;
        let rows = rows.unwrap_or_default();
        let sessions: Vec<&str> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let source = Box::new(Blocked {
            sessions: sessions.join(", "),
            source: failure,
        });
        EventStoreError::Busy { source }
    }

    /// Determines whether a swap was made whose commit got no response: then the rebuild's row no
    /// longer exists.
    async fn settle_swap(
        &self,
        rebuild: &Self,
        unknown: EventStoreError,
    ) -> Result<bool, LeaseError> {
        // Waits for the commit if the server is still processing it.
        let sql = "SELECT fence FROM eventcore.projections WHERE name = $1 FOR UPDATE";
        let mut source = unknown;
        for _ in 0..ATTEMPTS {
            match self.query(sql, &[&rebuild.key]).await {
                Ok(rows) if rows.is_empty() => return Ok(true),
                Ok(_) => {
                    let source = Box::new(source);
                    return Err(EventStoreError::Unavailable { source }.into());
                }
                Err(error) => source = error,
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(source.into())
    }
}
