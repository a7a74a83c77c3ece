//! Read models in the database that holds the events: checkpoints, leases and parked events, and rebuilding them in a
//! schema of their own, which then takes the live tables' place.

use std::{
    fmt::Write,
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio_postgres::Row;

use crate::postgres::{
    PostgresEventStore,
    connection::pool::Pool,
    connection::statement::{Parameters, of_schema},
    convert::big,
    error::corrupt,
    read_model::transaction::PostgresTransaction,
};
use crate::{
    Position,
    projection::{
        DeadLetter, LastError, Leadership, Lease, LeaseError, Progress, ProjectionDatabase,
        ProjectionRecord, ReadModel,
    },
    store::EventStoreError,
};

/// Where read models are: the live ones, or the one that is rebuilt.
pub(crate) struct Place {
    pub(crate) pool: Pool,
    /// Begins a transaction of a projection.
    pub(crate) begin: String,
    /// The schema of the store.
    schema: Box<str>,
    /// The schema of the new read model.
    rebuild: Option<Box<str>>,
}

/// What a projection commits is durable a moment later: what a crash takes back, it takes back with the checkpoint. Its
/// statements are planned as they would be elsewhere.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off;
     SET LOCAL idle_in_transaction_session_timeout = '60s'; SET LOCAL plan_cache_mode TO DEFAULT";

impl Place {
    pub(crate) fn live(pool: Pool, schema: &str) -> Arc<Self> {
        Arc::new(Self {
            pool,
            begin: BEGIN.to_owned(),
            schema: schema.into(),
            rebuild: None,
        })
    }

    fn rebuild(&self, name: &str) -> Arc<Self> {
        let schema = format!(
            "eventcore_rebuild_{:016x}",
            hash(&format!("{}/{name}", self.schema))
        );
        let path = format!(
            "SELECT set_config('search_path', concat_ws(', ', '{schema}', nullif(current_setting('search_path'), '')), true)"
        );
        Arc::new(Self {
            pool: self.pool.clone(),
            begin: format!("{BEGIN}; {path}"),
            schema: self.schema.clone(),
            rebuild: Some(schema.into()),
        })
    }

    /// What a projection is called here.
    fn key(&self, name: &str) -> String {
        match self.rebuild {
            None => name.to_owned(),
            Some(_) => format!("{name}/rebuild"),
        }
    }

    async fn query(
        &self,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, EventStoreError> {
        let asked = async {
            let mut connection = self.pool.get().await?;
            connection
                .query_sql(&of_schema(sql, &self.schema), parameters)
                .await
        };
        asked.await.map_err(|failure| failure.nothing_written())
    }

    async fn lead(
        &self,
        name: &str,
        leader: &str,
        term: Duration,
        seize: bool,
    ) -> Result<Leadership, EventStoreError> {
        if !seize && let Some(leader) = self.record(name).await?.and_then(|record| record.leader) {
            return Ok(Leadership::Held { leader });
        }
        let sql =
            "INSERT INTO eventcore.projections AS p (name, position, fence, leader, leads_until)
                   VALUES ($1, 0, 1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond')
                   ON CONFLICT (name) DO UPDATE SET fence = p.fence + 1, leader = $2,
                          leads_until = clock_timestamp() + $3::bigint * interval '1 millisecond'
                    WHERE p.leader IS NULL OR p.leads_until < clock_timestamp() OR $4
                   RETURNING fence, position";
        let taken = self
            .query(sql, &[&self.key(name), &leader, &millis(term), &seize])
            .await?;
        if let Some(row) = taken.first() {
            return Ok(Leadership::Taken(Lease {
                fence: number(row, 0)?,
                position: Position::new(number(row, 1)?),
            }));
        }
        // Somebody was faster.
        let record = self.record(name).await?;
        let leader = record.and_then(|record| record.leader).unwrap_or_default();
        Ok(Leadership::Held { leader })
    }

    async fn renew(&self, name: &str, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        let sql = "UPDATE eventcore.projections SET leads_until = clock_timestamp() + $1::bigint * interval '1 millisecond'
                    WHERE name = $2 AND fence = $3 RETURNING fence";
        let key = self.key(name);
        let held = self
            .query(sql, &[&millis(term), &key, &big(lease.fence)])
            .await?;
        if held.is_empty() {
            return Err(LeaseError::Lost);
        }
        Ok(())
    }

    async fn resign(&self, name: &str, lease: &Lease) -> Result<(), EventStoreError> {
        let sql = "UPDATE eventcore.projections SET leader = NULL, leads_until = '-infinity' WHERE name = $1 AND fence = $2";
        let key = self.key(name);
        self.query(sql, &[&key, &big(lease.fence)]).await.map(drop)
    }

    /// The fence is checked under the lock of the projection's row, so a leader of old cannot commit.
    async fn commit(
        &self,
        name: &str,
        mut transaction: PostgresTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        let key = self.key(name);
        let sql = "UPDATE eventcore.projections SET position = $1, error = NULL,
                          leads_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
                    WHERE name = $3 AND fence = $4 AND position = $5";
        let sql = of_schema(sql, &self.schema);
        let before = big(lease.position.get());
        let position = big(progress.position.get());
        let term = millis(progress.term);
        let held = transaction
            .execute(&sql, &[&position, &term, &key, &big(lease.fence), &before])
            .await?;
        if held == 0 {
            return Err(LeaseError::Lost);
        }
        if let Some(letter) = &progress.park {
            let sql = "INSERT INTO eventcore.dead_letters (projection, position, error, attempts, parked_at)
                       VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT (projection, position) DO UPDATE
                       SET error = $3, attempts = $4, parked_at = $5, to_replay = false";
            // PostgreSQL keeps no NUL in text.
            let error = letter.error.replace('\0', "\u{fffd}");
            let (position, attempts) = (big(letter.position.get()), i64::from(letter.attempts));
            let sql = of_schema(sql, &self.schema);
            transaction
                .execute(
                    &sql,
                    &[&key, &position, &error, &attempts, &letter.parked_at],
                )
                .await?;
        }
        if let Some(position) = progress.replayed {
            let sql = "DELETE FROM eventcore.dead_letters WHERE projection = $1 AND position = $2";
            let sql = of_schema(sql, &self.schema);
            transaction
                .execute(&sql, &[&key, &big(position.get())])
                .await?;
        }
        transaction.commit().await
    }

    async fn note(
        &self,
        name: &str,
        lease: &Lease,
        error: &LastError,
    ) -> Result<(), EventStoreError> {
        let sql = "UPDATE eventcore.projections SET error = $1, error_position = $2, error_at = $3
                    WHERE name = $4 AND fence = $5";
        let message = error.message.replace('\0', "\u{fffd}");
        let position = error.position.map(|position| big(position.get()));
        let key = self.key(name);
        self.query(
            sql,
            &[&message, &position, &error.at, &key, &big(lease.fence)],
        )
        .await
        .map(drop)
    }

    async fn record(&self, name: &str) -> Result<Option<ProjectionRecord>, EventStoreError> {
        let sql = "SELECT p.position, CASE WHEN p.leads_until >= clock_timestamp() THEN p.leader END,
                          p.error, p.error_position, p.error_at,
                          (SELECT count(*) FROM eventcore.dead_letters d WHERE d.projection = p.name),
                          EXISTS (SELECT FROM eventcore.dead_letters d WHERE d.projection = p.name AND d.to_replay)
                     FROM eventcore.projections p WHERE p.name = $1";
        let rows = self.query(sql, &[&self.key(name)]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let last_error = match row
            .try_get::<_, Option<String>>(2)
            .map_err(|error| broken(&error))?
        {
            Some(message) => Some(LastError {
                message,
                position: row
                    .try_get::<_, Option<i64>>(3)
                    .map_err(|error| broken(&error))?
                    .map(|position| Position::new(position.unsigned_abs())),
                at: row.try_get(4).map_err(|error| broken(&error))?,
            }),
            None => None,
        };
        Ok(Some(ProjectionRecord {
            position: Position::new(number(row, 0)?),
            leader: row.try_get(1).map_err(|error| broken(&error))?,
            last_error,
            parked: number(row, 5)?,
            to_replay: row.try_get(6).map_err(|error| broken(&error))?,
        }))
    }

    async fn dead_letters(
        &self,
        name: &str,
        after: Position,
    ) -> Result<Vec<DeadLetter>, EventStoreError> {
        let sql =
            "SELECT position, error, attempts, parked_at, to_replay FROM eventcore.dead_letters
                    WHERE projection = $1 AND position > $2 ORDER BY position LIMIT 1000";
        let after = big(after.get());
        let rows = self.query(sql, &[&self.key(name), &after]).await?;
        let letter = |row: &Row| {
            Ok(DeadLetter {
                position: Position::new(number(row, 0)?),
                error: row.try_get(1).map_err(|error| broken(&error))?,
                attempts: u32::try_from(number(row, 2)?).unwrap_or(u32::MAX),
                parked_at: row
                    .try_get::<_, SystemTime>(3)
                    .map_err(|error| broken(&error))?,
                to_replay: row.try_get(4).map_err(|error| broken(&error))?,
            })
        };
        rows.iter().map(letter).collect()
    }

    async fn replay(
        &self,
        name: &str,
        position: Option<Position>,
    ) -> Result<usize, EventStoreError> {
        let sql = "UPDATE eventcore.dead_letters SET to_replay = true
                    WHERE projection = $1 AND ($2::bigint IS NULL OR position = $2) RETURNING position";
        let position = position.map(|position| big(position.get()));
        let marked = self.query(sql, &[&self.key(name), &position]).await?;
        Ok(marked.len())
    }

    /// The place where a read model is rebuilt, made ready.
    async fn open_rebuild(
        &self,
        name: &str,
        afresh: bool,
    ) -> Result<PostgresReadModel, EventStoreError> {
        let place = self.rebuild(name);
        let schema = place.rebuild.as_deref().unwrap_or_default();
        let mut sql = String::from("BEGIN;");
        if afresh {
            let key = place.key(name);
            let _ = write!(sql,
                "DROP SCHEMA IF EXISTS \"{schema}\" CASCADE;
                 DELETE FROM eventcore.dead_letters WHERE projection = '{key}';
                 UPDATE eventcore.projections SET position = 0, fence = fence + 1, leader = NULL, leads_until = '-infinity'
                  WHERE name = '{key}';"
            );
        }
        let _ = write!(sql, "CREATE SCHEMA IF NOT EXISTS \"{schema}\"; COMMIT");
        let made = async {
            let mut connection = self.pool.get().await?;
            let made = connection.batch(&of_schema(&sql, &self.schema)).await;
            if made.is_err() {
                connection.discard();
            }
            made
        };
        made.await.map_err(|failure| failure.nothing_written())?;
        Ok(PostgresReadModel {
            place,
            name: name.into(),
        })
    }

    async fn swap(
        self: &Arc<Self>,
        name: &str,
        rebuild: &Self,
        lease: &Lease,
    ) -> Result<bool, LeaseError> {
        let Some(schema) = rebuild.rebuild.as_deref() else {
            return Ok(false);
        };
        let (built_key, key) = (rebuild.key(name), self.key(name));
        let of = |sql: &str| of_schema(sql, &self.schema);
        let mut transaction = PostgresTransaction::new(self.clone());
        let sql =
            "SELECT position FROM eventcore.projections WHERE name = $1 AND fence = $2 FOR UPDATE";
        let built = transaction
            .query(&of(sql), &[&built_key, &big(lease.fence)])
            .await?;
        let Some(built) = built.first() else {
            return Err(LeaseError::Lost);
        };
        let built = big(number(built, 0)?);
        let sql = "SELECT position FROM eventcore.projections WHERE name = $1 AND position > $2";
        let ahead = of(sql);
        if !transaction.query(&ahead, &[&key, &built]).await?.is_empty() {
            return Ok(false);
        }
        // Tables before the projection's row: the order in which a batch locks them.
        move_tables(&mut transaction, schema).await?;
        let ahead = format!("{ahead} FOR UPDATE");
        if !transaction.query(&ahead, &[&key, &built]).await?.is_empty() {
            return Ok(false);
        }
        let sql = "INSERT INTO eventcore.projections AS p (name, position, fence, leads_until) VALUES ($1, $2, 1, '-infinity')
                   ON CONFLICT (name) DO UPDATE SET position = $2, fence = p.fence + 1, leader = NULL,
                          leads_until = '-infinity', error = NULL";
        transaction.execute(&of(sql), &[&key, &built]).await?;
        let sql = "DELETE FROM eventcore.dead_letters WHERE projection = $1";
        transaction.execute(&of(sql), &[&key]).await?;
        let sql = "UPDATE eventcore.dead_letters SET projection = $1 WHERE projection = $2";
        transaction.execute(&of(sql), &[&key, &built_key]).await?;
        let sql = "DELETE FROM eventcore.projections WHERE name = $1";
        transaction.execute(&of(sql), &[&built_key]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Moves the tables and views of a schema to where the live ones are, in the place of those with the same names.
async fn move_tables(
    transaction: &mut PostgresTransaction,
    schema: &str,
) -> Result<(), EventStoreError> {
    let sql = "SELECT quote_ident(c.relname), quote_ident(current_schema()),
                      CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
                ORDER BY c.relkind IN ('v', 'm') DESC, c.relname";
    let found = transaction.query(sql, &[&schema]).await?;
    let mut statements = String::new();
    let mut moves = String::new();
    for row in &found {
        let name: &str = row.try_get(0).map_err(|error| broken(&error))?;
        let live: &str = row.try_get(1).map_err(|error| broken(&error))?;
        let kind: &str = row.try_get(2).map_err(|error| broken(&error))?;
        let _ = write!(statements, "DROP {kind} IF EXISTS {live}.{name}; ");
        let _ = write!(
            moves,
            "ALTER {kind} \"{schema}\".{name} SET SCHEMA {live}; "
        );
    }
    statements.push_str(&moves);
    let _ = write!(statements, "DROP SCHEMA \"{schema}\"");
    transaction.execute_batch(&statements).await
}

/// The read model of one projection: the live one, or the one that a rebuild makes in a schema of its own.
#[derive(Clone)]
pub struct PostgresReadModel {
    place: Arc<Place>,
    name: Arc<str>,
}

impl std::fmt::Debug for PostgresReadModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresReadModel")
            .field("name", &self.name)
            .field("rebuild", &self.place.rebuild)
            .finish_non_exhaustive()
    }
}

impl ProjectionDatabase for PostgresEventStore {
    type Transaction = PostgresTransaction;
    type ReadModel = PostgresReadModel;

    fn live(&self, name: &str) -> PostgresReadModel {
        PostgresReadModel {
            place: self.shared.place.clone(),
            name: name.into(),
        }
    }

    async fn rebuild(
        &self,
        name: &str,
        afresh: bool,
    ) -> Result<PostgresReadModel, EventStoreError> {
        self.shared.place.open_rebuild(name, afresh).await
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
        self.place.lead(&self.name, leader, term, false).await
    }

    async fn seize(&self, leader: &str, term: Duration) -> Result<Leadership, EventStoreError> {
        self.place.lead(&self.name, leader, term, true).await
    }

    async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        self.place.renew(&self.name, lease, term).await
    }

    async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        self.place.resign(&self.name, lease).await
    }

    async fn begin(&self, _: &Lease) -> Result<PostgresTransaction, LeaseError> {
        Ok(PostgresTransaction::new(self.place.clone()))
    }

    async fn flush(transaction: &mut PostgresTransaction) -> Result<(), EventStoreError> {
        transaction.flush().await
    }

    fn is_usable(transaction: &PostgresTransaction) -> bool {
        transaction.is_usable()
    }

    async fn commit(
        &self,
        transaction: PostgresTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        self.place
            .commit(&self.name, transaction, lease, progress)
            .await
    }

    async fn note(&self, lease: &Lease, error: &LastError) -> Result<(), EventStoreError> {
        self.place.note(&self.name, lease, error).await
    }

    async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        self.place.record(&self.name).await
    }

    async fn dead_letters(&self, after: Position) -> Result<Vec<DeadLetter>, EventStoreError> {
        self.place.dead_letters(&self.name, after).await
    }

    async fn replay(&self, position: Option<Position>) -> Result<usize, EventStoreError> {
        self.place.replay(&self.name, position).await
    }

    async fn swap(&self, rebuild: &Self, lease: &Lease) -> Result<bool, LeaseError> {
        self.place.swap(&self.name, &rebuild.place, lease).await
    }
}

fn broken(error: &tokio_postgres::Error) -> EventStoreError {
    corrupt(error.to_string())
}

fn number(row: &Row, column: usize) -> Result<u64, EventStoreError> {
    let number: i64 = row.try_get(column).map_err(|error| broken(&error))?;
    Ok(number.unsigned_abs())
}

fn millis(term: Duration) -> i64 {
    i64::try_from(term.as_millis()).unwrap_or(i64::MAX)
}

/// FNV-1a, since names in PostgreSQL are short and projections' names need not be.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
