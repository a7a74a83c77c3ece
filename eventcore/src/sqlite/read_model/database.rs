//! Read models in the file that holds the events: checkpoints, leases and parked events.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use crate::sqlite::{
    SqliteEventStore,
    convert::sql,
    error::of_read,
    read_model::rebuild::SqliteRebuild,
    read_model::target::{Place, blocking},
    read_model::transaction::SqliteTransaction,
};
use crate::{
    Position,
    projection::{
        DatabaseFuture, DeadLetter, LastError, Leadership, Lease, LeaseError, Progress,
        ProjectionDatabase, ProjectionRecord,
    },
    store::EventStoreError,
};

impl ProjectionDatabase for SqliteEventStore {
    type Transaction = SqliteTransaction;
    type Rebuild = SqliteRebuild;
    const OPEN: Duration = Duration::from_millis(20);
    const ROLLS_BACK: bool = true;

    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> DatabaseFuture<'_, T> {
        run(work)
    }

    fn lead<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(async move {
            // Most of those who stand by find it held, which takes no lock.
            if let Some(leader) = self.record(name).await?.and_then(|record| record.leader) {
                return Ok(Leadership::Held { leader });
            }
            lead(self.place(), name, leader, term, false).await
        })
    }

    fn seize<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(lead(self.place(), name, leader, term, true))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, term: Duration) -> DatabaseFuture<'a, (), LeaseError> {
        Box::pin(renew(self.place(), lease, term))
    }

    fn resign<'a>(&'a self, lease: &'a Lease) -> DatabaseFuture<'a, ()> {
        Box::pin(resign(self.place(), lease))
    }

    fn begin<'a>(&'a self, _: &'a Lease) -> DatabaseFuture<'a, SqliteTransaction, LeaseError> {
        Box::pin(std::future::ready(Ok(SqliteTransaction::new(
            self.place().clone(),
        ))))
    }

    fn is_usable(transaction: &SqliteTransaction) -> bool {
        transaction.is_usable()
    }

    fn commit<'a>(
        &'a self,
        transaction: SqliteTransaction,
        lease: &'a Lease,
        progress: Progress,
    ) -> DatabaseFuture<'a, (), LeaseError> {
        let committed = commit(self.place(), transaction, lease, &progress);
        Box::pin(std::future::ready(committed))
    }

    fn note<'a>(&'a self, lease: &'a Lease, error: &'a LastError) -> DatabaseFuture<'a, ()> {
        Box::pin(note(self.place(), lease, error))
    }

    fn record<'a>(&'a self, name: &'a str) -> DatabaseFuture<'a, Option<ProjectionRecord>> {
        let name = name.to_owned();
        Box::pin(self.query(move |connection| record(connection, &name)))
    }

    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        after: Position,
    ) -> DatabaseFuture<'a, Vec<DeadLetter>> {
        let name = name.to_owned();
        Box::pin(self.query(move |connection| dead_letters(connection, &name, after)))
    }

    fn replay<'a>(
        &'a self,
        name: &'a str,
        position: Option<Position>,
    ) -> DatabaseFuture<'a, usize> {
        Box::pin(replay(self.place(), name, position))
    }

    fn rebuild<'a>(&'a self, name: &'a str, afresh: bool) -> DatabaseFuture<'a, SqliteRebuild> {
        Box::pin(SqliteRebuild::open(self.place(), name, afresh))
    }

    fn swap<'a>(
        &'a self,
        rebuild: &'a SqliteRebuild,
        lease: &'a Lease,
    ) -> DatabaseFuture<'a, bool, LeaseError> {
        Box::pin(rebuild.swap(self.place(), lease))
    }
}

/// Work that writes runs in a thread that may block, its commit included.
pub(crate) fn run<'a, T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> DatabaseFuture<'a, T> {
    let runtime = tokio::runtime::Handle::current();
    Box::pin(blocking(move || runtime.block_on(work)))
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
                    name: name.as_str().into(),
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
    lease: &Lease,
    term: Duration,
) -> Result<(), LeaseError> {
    let lease = lease.clone();
    let renew = move |connection: &Connection| {
        let sql =
            "UPDATE main.eventcore_projections SET leads_until = ?1 WHERE name = ?2 AND fence = ?3";
        let values = params![until(term), &*lease.name, fence(&lease)];
        connection.prepare_cached(sql)?.execute(values)
    };
    match place.write(renew).await? {
        0 => Err(LeaseError::Lost),
        _ => Ok(()),
    }
}

pub(crate) async fn resign(place: &Arc<Place>, lease: &Lease) -> Result<(), EventStoreError> {
    let lease = lease.clone();
    let resign = move |connection: &Connection| {
        let sql = "UPDATE main.eventcore_projections SET leader = NULL, leads_until = 0 WHERE name = ?1 AND fence = ?2";
        let values = params![&*lease.name, fence(&lease)];
        connection.prepare_cached(sql)?.execute(values).map(drop)
    };
    place.write(resign).await
}

/// The fence is checked while nobody else can write, so a leader of old cannot commit.
pub(crate) fn commit(
    place: &Arc<Place>,
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
            &*lease.name,
            fence(lease),
            sql(lease.position.get()),
        ];
        let held = connection.prepare_cached(update)?.execute(values)? > 0;
        if let Some(letter) = &progress.park {
            let park = "INSERT OR REPLACE INTO main.eventcore_dead_letters
                        (projection, position, error, attempts, parked_at, to_replay) VALUES (?1, ?2, ?3, ?4, ?5, 0)";
            let position = sql(letter.position.get());
            let values = params![
                &*lease.name,
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
            let values = params![&*lease.name, sql(position.get())];
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
    lease: &Lease,
    error: &LastError,
) -> Result<(), EventStoreError> {
    let (lease, error) = (lease.clone(), error.clone());
    let note = move |connection: &Connection| {
        let sql =
            "UPDATE main.eventcore_projections SET error = ?1, error_position = ?2, error_at = ?3
                   WHERE name = ?4 AND fence = ?5";
        let position = error.position.map(|position| self::sql(position.get()));
        let values = params![
            error.message,
            position,
            micros(error.at),
            &*lease.name,
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
                      EXISTS (SELECT 1 FROM main.eventcore_dead_letters d WHERE d.projection = p.name AND d.to_replay)
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

impl SqliteEventStore {
    /// Asks a reader thread.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, EventStoreError> {
        self.read(|reply| {
            crate::sqlite::read::thread::Job::Query(Box::new(move |connection| {
                let _ = reply
                    .send(connection.and_then(|connection| query(connection).map_err(of_read)));
            }))
        })
        .await
    }
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
