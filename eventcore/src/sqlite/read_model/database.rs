//! The read model of a projection in its own file: checkpoint, lease and dead letters.

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::sqlite::{
    SqliteEventStore,
    convert::sql,
    read_model::{file::Side, swap, target::Target, threads, transaction::SqliteTransaction},
};
use crate::{
    Position,
    projection::{
        DeadLetter, Forbidden, LastError, Leadership, Lease, LeaseError, Progress,
        ProjectionDatabase, ProjectionIdentity, ProjectionRecord, ReadModel,
    },
    store::EventStoreError,
};

/// The read model of one projection, in a file beside the store's: either the live one or a
/// rebuild.
#[derive(Clone)]
pub struct SqliteReadModel {
    target: Arc<Target>,
    /// The birth mark of the rebuild; `None` for the live read model, which is not checked.
    birth: Option<i64>,
}

impl SqliteReadModel {
    /// Returns the path of the read model's file. See [`SqliteEventStore::read_model`].
    pub fn path(&self) -> &Path {
        self.target.path()
    }
}

impl std::fmt::Debug for SqliteReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReadModel")
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

/// The error when another process has restarted the rebuild or swapped it in.
#[derive(Debug, thiserror::Error)]
#[error(
    "another rebuild of this read model was started or completed after this one; check its status before you start \
     another one"
)]
struct Superseded;

impl ProjectionDatabase for SqliteEventStore {
    type Transaction = SqliteTransaction;
    type ReadModel = SqliteReadModel;

    fn live(&self, name: &str) -> SqliteReadModel {
        SqliteReadModel {
            target: self.shared.read_models.get(name, Side::Live),
            birth: None,
        }
    }

    async fn rebuild(&self, name: &str, afresh: bool) -> Result<SqliteReadModel, EventStoreError> {
        let live = self.shared.read_models.get(name, Side::Live);
        let target = self.shared.read_models.get(name, Side::Rebuild);
        let birth = Some(swap::open(&live, &target, afresh).await?);
        Ok(SqliteReadModel { target, birth })
    }
}

impl ReadModel for SqliteReadModel {
    type Transaction = SqliteTransaction;
    // No other task waits for this transaction; the limit only bounds how late readers see the
    // first event of a batch.
    const OPEN: Duration = Duration::from_millis(50);
    const ROLLS_BACK: bool = true;

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        // Writes, including the commit, run on a thread that may block.
        let runtime = tokio::runtime::Handle::current();
        threads::run(move || runtime.block_on(work)).await
    }

    async fn lead(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        // A standby usually finds the lease held, which this detects without taking a lock.
        if let Some(leader) = self.record().await?.and_then(|record| record.leader) {
            return Ok(Leadership::Held { leader });
        }
        self.take(leader, term, false).await
    }

    async fn seize(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        self.take(leader, term, true).await
    }

    async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        let fence = sql(lease.fence);
        let renew = move |connection: &Connection| {
            let sql = "UPDATE eventcore_projections SET leads_until = ?1 WHERE fence = ?2";
            let mut statement = connection.prepare_cached(sql)?;
            statement.execute(params![until(term), fence])
        };
        match self.target.write(renew).await? {
            0 => Err(LeaseError::Lost),
            _ => Ok(()),
        }
    }

    async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        let fence = sql(lease.fence);
        let resign = move |connection: &Connection| {
            let sql =
                "UPDATE eventcore_projections SET leader = NULL, leads_until = 0 WHERE fence = ?1";
            connection.prepare_cached(sql)?.execute([fence]).map(drop)
        };
        self.target.write(resign).await
    }

    async fn identify(
        &self,
        lease: &Lease,
        identity: &ProjectionIdentity,
    ) -> Result<(), LeaseError> {
        let (fence, identity) = (sql(lease.fence), identity.clone());
        let note = move |connection: &Connection| {
            let sql = "UPDATE eventcore_projections SET feed = ?1, type_name = ?2 WHERE fence = ?3";
            let values = params![identity.feed, identity.type_name, fence];
            connection.prepare_cached(sql)?.execute(values)
        };
        match self.target.write(note).await? {
            0 => Err(LeaseError::Lost),
            _ => Ok(()),
        }
    }

    async fn begin(&self, _: &Lease) -> Result<SqliteTransaction, LeaseError> {
        Ok(SqliteTransaction::new(self.target.clone()))
    }

    fn is_usable(transaction: &SqliteTransaction) -> bool {
        transaction.is_usable()
    }

    fn forbidden(transaction: &SqliteTransaction) -> Option<Forbidden> {
        transaction.forbidden()
    }

    /// Checks the fence while no other connection can write, so a former leader cannot commit.
    async fn commit(
        &self,
        mut transaction: SqliteTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        let failed = |error| LeaseError::Database(self.target.failed(error));
        let held = transaction.lifted(|connection| advance(connection, lease, &progress));
        if !held.map_err(failed)? {
            return Err(LeaseError::Lost);
        }
        transaction.commit().map_err(|error| {
            if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
                return LeaseError::Refused(self.target.failed(error));
            }
            failed(error)
        })
    }

    async fn record_error(&self, lease: &Lease, error: &LastError) -> Result<(), EventStoreError> {
        let (fence, error) = (sql(lease.fence), error.clone());
        let note = move |connection: &Connection| {
            let sql = "UPDATE eventcore_projections SET error = ?1, error_position = ?2, error_at = ?3 WHERE fence = ?4";
            let position = error.position.map(|position| self::sql(position.get()));
            let values = params![error.message, position, micros(error.at), fence];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        };
        self.target.write(note).await
    }

    async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        self.target.read(record).await
    }

    async fn dead_letters(&self, after: Position) -> Result<Vec<DeadLetter>, EventStoreError> {
        let read = move |connection: &Connection| dead_letters(connection, after);
        Ok(self.target.read(read).await?.unwrap_or_default())
    }

    async fn replay(&self, position: Option<Position>) -> Result<usize, EventStoreError> {
        // A projection that never ran has no dead letters, and reading them must not create its
        // file.
        if self.record().await?.is_none_or(|record| record.parked == 0) {
            return Ok(0);
        }
        let position = position.map(|position| sql(position.get()));
        let mark = move |connection: &Connection| {
            let sql =
                "UPDATE eventcore_dead_letters SET to_replay = 1 WHERE ?1 IS NULL OR position = ?1";
            connection.prepare_cached(sql)?.execute([position])
        };
        self.target.write(mark).await
    }

    async fn swap(
        &self,
        rebuild: &Self,
        lease: &Lease,
        head: Position,
    ) -> Result<bool, LeaseError> {
        swap::swap(&self.target, &rebuild.target, lease, head).await
    }
}

impl SqliteReadModel {
    async fn take(
        &self,
        leader: &str,
        term: Duration,
        seize: bool,
    ) -> Result<Leadership, EventStoreError> {
        let (birth, leader) = (self.birth, leader.to_owned());
        let take = move |connection: &Connection| {
            let taken = connection
                .prepare_cached(
                    "UPDATE eventcore_projections SET fence = fence + 1, leader = ?1, leads_until = ?2
                      WHERE (leader IS NULL OR leads_until < ?3 OR ?4) AND (?5 IS NULL OR birth = ?5)
                     RETURNING fence, position",
                )?
                .query_row(params![leader, until(term), until(Duration::ZERO), seize, birth], |row| {
                    Ok(Lease {
                        fence: row.get(0)?,
                        position: Position::new(row.get(1)?),
                    })
                })
                .optional()?;
            if let Some(lease) = taken {
                return Ok(Some(Leadership::Taken(lease)));
            }
            let held = "SELECT leader FROM eventcore_projections WHERE ?1 IS NULL OR birth = ?1";
            let leader = connection
                .query_row(held, [birth], |row| row.get::<_, Option<String>>(0))
                .optional()?;
            Ok(leader.map(|leader| Leadership::Held {
                leader: leader.unwrap_or_default(),
            }))
        };
        let taken = self.target.write(take).await?;
        taken.ok_or_else(|| EventStoreError::Other {
            source: Superseded.into(),
        })
    }
}

/// Moves the checkpoint, in the transaction that holds the rows. Returns `false` if the lease was
/// lost.
fn advance(connection: &Connection, lease: &Lease, progress: &Progress) -> rusqlite::Result<bool> {
    let update = "UPDATE eventcore_projections SET position = ?1, leads_until = ?2, error = NULL WHERE fence = ?3 AND position = ?4";
    let values = params![
        sql(progress.position.get()),
        until(progress.term),
        sql(lease.fence),
        sql(lease.position.get()),
    ];
    let held = connection.prepare_cached(update)?.execute(values)? > 0;
    if let Some(letter) = &progress.park {
        let park =
            "INSERT OR REPLACE INTO eventcore_dead_letters (position, error, attempts, parked_at, to_replay)
                    VALUES (?1, ?2, ?3, ?4, 0)";
        let position = sql(letter.position.get());
        let values = params![
            position,
            letter.error,
            letter.attempts,
            micros(letter.parked_at)
        ];
        connection.prepare_cached(park)?.execute(values)?;
    }
    if let Some(position) = progress.replayed {
        let remove = "DELETE FROM eventcore_dead_letters WHERE position = ?1";
        connection
            .prepare_cached(remove)?
            .execute([sql(position.get())])?;
    }
    Ok(held)
}

fn record(connection: &Connection) -> rusqlite::Result<ProjectionRecord> {
    let sql =
        "SELECT position, iif(leads_until >= ?1, leader, NULL), error, error_position, error_at,
                      (SELECT count(*) FROM eventcore_dead_letters),
                      EXISTS (SELECT 1 FROM eventcore_dead_letters WHERE to_replay),
                      fence || ' ' || leads_until, feed, type_name
               FROM eventcore_projections";
    let read = |row: &Row<'_>| {
        let message: Option<String> = row.get(2)?;
        let last_error = match message {
            Some(message) => Some(LastError {
                message,
                position: row.get::<_, Option<u64>>(3)?.map(Position::new),
                at: time(row, 4)?,
            }),
            None => None,
        };
        let identity = match row.get(8)? {
            Some(feed) => Some(ProjectionIdentity {
                feed,
                type_name: row.get(9)?,
            }),
            None => None,
        };
        Ok(ProjectionRecord {
            position: Position::new(row.get(0)?),
            identity,
            leader: row.get(1)?,
            last_error,
            parked: row.get(5)?,
            to_replay: row.get(6)?,
            lease_state: row.get(7)?,
        })
    };
    connection
        .prepare_cached(sql)?
        .query_row([until(Duration::ZERO)], read)
}

fn dead_letters(connection: &Connection, after: Position) -> rusqlite::Result<Vec<DeadLetter>> {
    let query = "SELECT position, error, attempts, parked_at, to_replay FROM eventcore_dead_letters
                  WHERE position > ?1 ORDER BY position LIMIT 1000";
    let read = |row: &Row<'_>| {
        Ok(DeadLetter {
            position: Position::new(row.get(0)?),
            error: row.get(1)?,
            attempts: row.get(2)?,
            parked_at: time(row, 3)?,
            to_replay: row.get(4)?,
        })
    };
    connection
        .prepare_cached(query)?
        .query_map([sql(after.get())], read)?
        .collect()
}

/// Returns the time at which a term that begins now ends, in milliseconds. The processes that share
/// a file share the machine's clock.
fn until(term: Duration) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(now.saturating_add(term).as_millis()).unwrap_or(i64::MAX)
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<SystemTime> {
    Ok(UNIX_EPOCH + Duration::from_micros(row.get::<_, Option<u64>>(column)?.unwrap_or(0)))
}
