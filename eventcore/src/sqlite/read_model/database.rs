//! Read models in the file that holds the events: checkpoints, leases and parked events.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::sqlite::{
    SqliteEventStore, convert::sql, read_model::rebuild, read_model::target::Place,
    read_model::threads, read_model::transaction::SqliteTransaction,
};
use crate::{
    Position,
    projection::{
        DeadLetter, LastError, Leadership, Lease, LeaseError, Progress, ProjectionDatabase,
        ProjectionRecord, ReadModel,
    },
    store::EventStoreError,
};

/// The read model of one projection: the live one, or the one that a rebuild makes in a file beside the store's.
#[derive(Clone)]
pub struct SqliteReadModel {
    place: Arc<Place>,
    name: Arc<str>,
}

impl std::fmt::Debug for SqliteReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReadModel")
            .field("name", &self.name)
            .field("path", &self.place.path())
            .finish_non_exhaustive()
    }
}

impl ProjectionDatabase for SqliteEventStore {
    type Transaction = SqliteTransaction;
    type ReadModel = SqliteReadModel;

    fn live(&self, name: &str) -> SqliteReadModel {
        SqliteReadModel {
            place: self.place().clone(),
            name: name.into(),
        }
    }

    async fn rebuild(&self, name: &str, afresh: bool) -> Result<SqliteReadModel, EventStoreError> {
        Ok(SqliteReadModel {
            place: rebuild::open(self.place(), name, afresh).await?,
            name: name.into(),
        })
    }
}

impl ReadModel for SqliteReadModel {
    type Transaction = SqliteTransaction;
    const OPEN: Duration = Duration::from_millis(20);
    const ROLLS_BACK: bool = true;

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        // What writes runs in a thread that may block, its commit included.
        let runtime = tokio::runtime::Handle::current();
        threads::run(move || runtime.block_on(work)).await
    }

    async fn lead(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        // Most of those who stand by find it held, which takes no lock.
        if let Some(leader) = self.record().await?.and_then(|record| record.leader) {
            return Ok(Leadership::Held { leader });
        }
        lead(&self.place, &self.name, leader, term, false).await
    }

    async fn seize(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        lead(&self.place, &self.name, leader, term, true).await
    }

    async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        renew(&self.place, &self.name, lease, term).await
    }

    async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        resign(&self.place, &self.name, lease).await
    }

    async fn begin(&self, _: &Lease) -> Result<SqliteTransaction, LeaseError> {
        Ok(SqliteTransaction::new(self.place.clone()))
    }

    fn is_usable(transaction: &SqliteTransaction) -> bool {
        transaction.is_usable()
    }

    async fn commit(
        &self,
        transaction: SqliteTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        commit(&self.place, &self.name, transaction, lease, &progress)
    }

    async fn note(&self, lease: &Lease, error: &LastError) -> Result<(), EventStoreError> {
        note(&self.place, &self.name, lease, error).await
    }

    async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        let name = self.name.clone();
        let read = move |connection: &Connection| record(connection, &name);
        self.place.write(read).await
    }

    async fn dead_letters(&self, after: Position) -> Result<Vec<DeadLetter>, EventStoreError> {
        let name = self.name.clone();
        let read = move |connection: &Connection| dead_letters(connection, &name, after);
        self.place.write(read).await
    }

    async fn replay(&self, position: Option<Position>) -> Result<usize, EventStoreError> {
        replay(&self.place, &self.name, position).await
    }

    async fn swap(&self, rebuild: &Self, lease: &Lease) -> Result<bool, LeaseError> {
        rebuild::swap(&self.place, &rebuild.place, &self.name, lease).await
    }
}

pub(crate) async fn lead(
    place: &Arc<Place>,
    name: &str,
    leader: &str,
    term: Duration,
    seize: bool,
) -> Result<Leadership, EventStoreError> {
    let (name, leader) = (name.to_owned(), leader.to_owned());
    let take = move |connection: &Connection| {
        let taken = connection
            .prepare_cached(
                "INSERT INTO main.eventcore_projections AS p (name, position, fence, leader, leads_until)
                 VALUES (?1, 0, 1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET fence = p.fence + 1, leader = ?2, leads_until = ?3
                 WHERE p.leader IS NULL OR p.leads_until < ?4 OR ?5
                 RETURNING fence, position",
            )?
            .query_row(params![name, leader, until(term), until(Duration::ZERO), seize], |row| {
                Ok(Lease {
                    fence: row.get(0)?,
                    position: Position::new(row.get(1)?),
                })
            })
            .optional()?;
        if let Some(lease) = taken {
            return Ok(Leadership::Taken(lease));
        }
        let held = "SELECT leader FROM main.eventcore_projections WHERE name = ?1";
        let leader = connection.query_row(held, [&name], |row| row.get(0))?;
        Ok(Leadership::Held { leader })
    };
    place.write(take).await
}

pub(crate) async fn renew(
    place: &Arc<Place>,
    name: &str,
    lease: &Lease,
    term: Duration,
) -> Result<(), LeaseError> {
    let (name, lease) = (name.to_owned(), lease.clone());
    let renew = move |connection: &Connection| {
        let sql =
            "UPDATE main.eventcore_projections SET leads_until = ?1 WHERE name = ?2 AND fence = ?3";
        let values = params![until(term), name, fence(&lease)];
        connection.prepare_cached(sql)?.execute(values)
    };
    match place.write(renew).await? {
        0 => Err(LeaseError::Lost),
        _ => Ok(()),
    }
}

pub(crate) async fn resign(
    place: &Arc<Place>,
    name: &str,
    lease: &Lease,
) -> Result<(), EventStoreError> {
    let (name, lease) = (name.to_owned(), lease.clone());
    let resign = move |connection: &Connection| {
        let sql = "UPDATE main.eventcore_projections SET leader = NULL, leads_until = 0 WHERE name = ?1 AND fence = ?2";
        let values = params![name, fence(&lease)];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    };
    place.write(resign).await
}

/// The fence is checked while nobody else can write, so a leader of old cannot commit.
pub(crate) fn commit(
    place: &Arc<Place>,
    name: &str,
    mut transaction: SqliteTransaction,
    lease: &Lease,
    progress: &Progress,
) -> Result<(), LeaseError> {
    let mut write = || {
        let connection = transaction.connection()?;
        let update =
            "UPDATE main.eventcore_projections SET position = ?1, leads_until = ?2, error = NULL
                      WHERE name = ?3 AND fence = ?4 AND position = ?5";
        let values = params![
            sql(progress.position.get()),
            until(progress.term),
            name,
            fence(lease),
            sql(lease.position.get()),
        ];
        let held = connection.prepare_cached(update)?.execute(values)? > 0;
        if let Some(letter) = &progress.park {
            let park = "INSERT OR REPLACE INTO main.eventcore_dead_letters
                        (projection, position, error, attempts, parked_at, to_replay) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
            let position = sql(letter.position.get());
            let values = params![
                name,
                position,
                letter.error,
                letter.attempts,
                micros(letter.parked_at)
            ];
            connection.prepare_cached(park)?.execute(values)?;
        }
        if let Some(position) = progress.replayed {
            let remove =
                "DELETE FROM main.eventcore_dead_letters WHERE projection = ?1 AND position = ?2";
            let values = params![name, sql(position.get())];
            connection.prepare_cached(remove)?.execute(values)?;
        }
        Ok(held)
    };
    let failed = |error| LeaseError::Database(place.failed(error));
    if !write().map_err(failed)? {
        return Err(LeaseError::Lost);
    }
    transaction.commit().map_err(|error| {
        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
            return LeaseError::Refused(place.failed(error));
        }
        failed(error)
    })
}

pub(crate) async fn note(
    place: &Arc<Place>,
    name: &str,
    lease: &Lease,
    error: &LastError,
) -> Result<(), EventStoreError> {
    let (name, lease, error) = (name.to_owned(), lease.clone(), error.clone());
    let note = move |connection: &Connection| {
        let sql =
            "UPDATE main.eventcore_projections SET error = ?1, error_position = ?2, error_at = ?3
                   WHERE name = ?4 AND fence = ?5";
        let position = error.position.map(|position| self::sql(position.get()));
        let values = params![
            error.message,
            position,
            micros(error.at),
            name,
            fence(&lease)
        ];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    };
    place.write(note).await
}

pub(crate) fn record(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<ProjectionRecord>> {
    let sql = "SELECT position, iif(leads_until >= ?2, leader, NULL), error, error_position, error_at,
                      (SELECT count(*) FROM main.eventcore_dead_letters d WHERE d.projection = p.name),
                      EXISTS (SELECT 1 FROM main.eventcore_dead_letters d WHERE d.projection = p.name AND d.to_replay),
                      fence || ' ' || leads_until
               FROM main.eventcore_projections p WHERE name = ?1";
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
        Ok(ProjectionRecord {
            position: Position::new(row.get(0)?),
            leader: row.get(1)?,
            last_error,
            parked: row.get(5)?,
            to_replay: row.get(6)?,
            lease_state: row.get(7)?,
        })
    };
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_row(params![name, until(Duration::ZERO)], read)
        .optional()
}

pub(crate) fn dead_letters(
    connection: &Connection,
    name: &str,
    after: Position,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let query =
        "SELECT position, error, attempts, parked_at, to_replay FROM main.eventcore_dead_letters
               WHERE projection = ?1 AND position > ?2 ORDER BY position LIMIT 1000";
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
        .query_map(params![name, sql(after.get())], read)?
        .collect()
}

pub(crate) async fn replay(
    place: &Arc<Place>,
    name: &str,
    position: Option<Position>,
) -> Result<usize, EventStoreError> {
    let (name, position) = (
        name.to_owned(),
        position.map(|position| sql(position.get())),
    );
    let mark = move |connection: &Connection| {
        let sql = "UPDATE main.eventcore_dead_letters SET to_replay = 1
                   WHERE projection = ?1 AND (?2 IS NULL OR position = ?2)";
        connection
            .prepare_cached(sql)?
            .execute(params![name, position])
    };
    place.write(mark).await
}

fn fence(lease: &Lease) -> i64 {
    sql(lease.fence)
}

/// A time from now, in milliseconds. The processes that share a file share its machine's clock.
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
