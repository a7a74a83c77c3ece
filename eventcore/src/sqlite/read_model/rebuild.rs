//! A read model that is built anew in a file beside the store's, and then takes the live one's place.
//!
//! In that file tables of the same names stand for the new read model, so a projection's SQL needs no change, and commands
//! are not held up by it. The swap copies the tables into the store's file, in one transaction.

use std::{
    fs,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::{
    convert::sql,
    read_model::database,
    read_model::target::{Place, blocking},
    read_model::transaction::{SqliteTransaction, busy},
    schema::BUSY,
};
use crate::{
    Position,
    projection::{
        DatabaseFuture, DeadLetter, LastError, Leadership, Lease, LeaseError, Progress,
        ProjectionDatabase, ProjectionRecord,
    },
    store::EventStoreError,
};

/// Where a read model is rebuilt: a file beside the store's.
#[derive(Clone)]
pub struct SqliteRebuild {
    place: Arc<Place>,
}

/// Names a rebuild, so that what is left of one whose file could not be removed is not taken for the beginning of another.
const BIRTH: &str = "eventcore/birth";

impl SqliteRebuild {
    pub(crate) async fn open(
        store: &Arc<Place>,
        name: &str,
        afresh: bool,
    ) -> Result<Self, EventStoreError> {
        let mut path = store.path().as_os_str().to_owned();
        path.push(format!(".{name}.rebuild"));
        let (path, file, swapped) = (PathBuf::from(path), store.path().to_owned(), swapped(name));
        let opened = move || {
            if afresh {
                remove(&path);
            }
            let place = Place::beside(path.clone(), file.clone());
            if !was_swapped(&place, &swapped)? {
                return Ok(place);
            }
            place.close();
            remove(&path);
            let place = Place::beside(path, file);
            was_swapped(&place, &swapped).map(|_| place)
        };
        let place = blocking(opened)
            .await?
            .map_err(|error| store.failed(error))?;
        Ok(Self { place })
    }

    /// Throws away what was built.
    pub(crate) fn discard(&self) {
        self.place.close();
        remove(self.place.path());
    }

    pub(crate) async fn swap(&self, store: &Arc<Place>, lease: &Lease) -> Result<bool, LeaseError> {
        let (rebuild, store, lease) = (self.clone(), store.clone(), lease.clone());
        let swap = move || {
            let failed = |error| LeaseError::Database(store.failed(error));
            let Some(_turn) = store.turns.take(BUSY) else {
                return Err(failed(busy()));
            };
            let connection = store.take().map_err(failed)?;
            let path = rebuild.place.path().display().to_string();
            let swapped = connection
                .execute("ATTACH DATABASE ?1 AS rebuild", [path])
                .and_then(|_| swap(&connection, &lease));
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            let _ = connection.execute_batch("DETACH DATABASE rebuild");
            store.give_back(connection);
            match swapped.map_err(failed)? {
                Swapped::Done => {
                    rebuild.discard();
                    Ok(true)
                }
                Swapped::Behind => Ok(false),
                Swapped::Lost => Err(LeaseError::Lost),
            }
        };
        blocking(swap).await?
    }
}

enum Swapped {
    Done,
    /// The live one has come further.
    Behind,
    /// Another process leads the rebuild.
    Lost,
}

fn swapped(name: &str) -> String {
    format!("{name}/swapped")
}

/// Whether this file was put into the place of the live read model already.
fn was_swapped(place: &Arc<Place>, swapped: &str) -> rusqlite::Result<bool> {
    let mut transaction = SqliteTransaction::new(place.clone());
    let birth = i64::try_from(fastrand::u64(1..1 << 62)).unwrap_or(1);
    let give_birth =
        "INSERT OR IGNORE INTO main.eventcore_projections (name, position, fence, leads_until)
                      VALUES (?1, ?2, 0, 0)";
    transaction.execute(give_birth, params![BIRTH, birth])?;
    let was_swapped = transaction.query_row(
        "SELECT EXISTS (SELECT 1 FROM main.eventcore_projections a JOIN store.eventcore_projections b
         USING (position) WHERE a.name = ?1 AND b.name = ?2)",
        [BIRTH, swapped],
        |row| row.get(0),
    )?;
    transaction.commit()?;
    Ok(was_swapped)
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        // What cannot be removed is known by its name in the store.
        let _ = fs::remove_file(file);
    }
}

/// Copies the rebuilt read model over the live one, unless that has come further.
fn swap(connection: &Connection, lease: &Lease) -> rusqlite::Result<Swapped> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let built: Option<i64> = connection
        .query_row(
            "SELECT position FROM rebuild.eventcore_projections WHERE name = ?1 AND fence = ?2",
            params![&*lease.name, sql(lease.fence)],
            |row| row.get(0),
        )
        .optional()?;
    let Some(built) = built else {
        return Ok(Swapped::Lost);
    };
    let live: Option<i64> = connection
        .query_row(
            "SELECT position FROM main.eventcore_projections WHERE name = ?1",
            [&*lease.name],
            |row| row.get(0),
        )
        .optional()?;
    if live > Some(built) {
        return Ok(Swapped::Behind);
    }
    copy(connection)?;
    // The fence rises, so that whoever leads the live one finds out.
    connection.execute(
        "INSERT INTO main.eventcore_projections AS p (name, position, fence, leads_until) VALUES (?1, ?2, 1, 0)
         ON CONFLICT DO UPDATE SET position = ?2, fence = p.fence + 1, leader = NULL, leads_until = 0, error = NULL",
        params![&*lease.name, built],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO main.eventcore_projections (name, position, fence, leads_until)
         SELECT ?1, position, 0, 0 FROM rebuild.eventcore_projections WHERE name = ?2",
        [swapped(&lease.name).as_str(), BIRTH],
    )?;
    connection.execute(
        "DELETE FROM main.eventcore_dead_letters WHERE projection = ?1",
        [&*lease.name],
    )?;
    connection.execute_batch(
        "INSERT INTO main.eventcore_dead_letters SELECT * FROM rebuild.eventcore_dead_letters; COMMIT",
    )?;
    Ok(Swapped::Done)
}

/// Replaces each table and view of the store's file by the one of that name in the other.
fn copy(connection: &Connection) -> rusqlite::Result<()> {
    let all = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let tables = all("SELECT s.name, s.sql FROM rebuild.sqlite_schema s JOIN pragma_table_list l ON l.schema = 'rebuild'
        AND l.name = s.name WHERE s.type = 'table' AND l.type IN ('table', 'virtual') AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND s.name NOT LIKE 'eventcore\\_%' ESCAPE '\\'")?;
    for (name, create) in &tables {
        let name = quoted(name);
        connection.execute_batch(&format!("DROP TABLE IF EXISTS main.{name}; {create}"))?;
        // Generated columns cannot be written.
        let columns = all(&format!(
            "SELECT name, type FROM pragma_table_xinfo({name}, 'rebuild') WHERE hidden = 0"
        ))?;
        let columns: Vec<_> = columns.iter().map(|(column, _)| quoted(column)).collect();
        let columns = columns.join(", ");
        connection.execute_batch(&format!(
            "INSERT INTO main.{name} ({columns}) SELECT {columns} FROM rebuild.{name}"
        ))?;
    }
    // Indexes after the rows, which is faster, and triggers after them, so that they do not run.
    for (name, create) in all("SELECT name, sql FROM rebuild.sqlite_schema WHERE type = 'view'")? {
        connection.execute_batch(&format!(
            "DROP VIEW IF EXISTS main.{}; {create}",
            quoted(&name)
        ))?;
    }
    for (_, create) in all("SELECT name, sql FROM rebuild.sqlite_schema
        WHERE type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type")?
    {
        connection.execute_batch(&create)?;
    }
    Ok(())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl ProjectionDatabase for SqliteRebuild {
    type Transaction = SqliteTransaction;
    type Rebuild = Self;
    const OPEN: Duration = Duration::from_millis(200);
    const ROLLS_BACK: bool = true;

    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> DatabaseFuture<'_, T> {
        database::run(work)
    }

    fn lead<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(database::lead(&self.place, name, leader, term, false))
    }

    fn seize<'a>(
        &'a self,
        name: &'a str,
        leader: &'a str,
        term: Duration,
    ) -> DatabaseFuture<'a, Leadership> {
        Box::pin(database::lead(&self.place, name, leader, term, true))
    }

    fn renew<'a>(&'a self, lease: &'a Lease, term: Duration) -> DatabaseFuture<'a, (), LeaseError> {
        Box::pin(database::renew(&self.place, lease, term))
    }

    fn resign<'a>(&'a self, lease: &'a Lease) -> DatabaseFuture<'a, ()> {
        Box::pin(database::resign(&self.place, lease))
    }

    fn begin<'a>(&'a self, _: &'a Lease) -> DatabaseFuture<'a, SqliteTransaction, LeaseError> {
        let transaction = SqliteTransaction::new(self.place.clone());
        Box::pin(std::future::ready(Ok(transaction)))
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
        let committed = database::commit(&self.place, transaction, lease, &progress);
        Box::pin(std::future::ready(committed))
    }

    fn note<'a>(&'a self, lease: &'a Lease, error: &'a LastError) -> DatabaseFuture<'a, ()> {
        Box::pin(database::note(&self.place, lease, error))
    }

    fn record<'a>(&'a self, name: &'a str) -> DatabaseFuture<'a, Option<ProjectionRecord>> {
        let name = name.to_owned();
        Box::pin(
            self.place
                .write(move |connection| database::record(connection, &name)),
        )
    }

    fn dead_letters<'a>(
        &'a self,
        name: &'a str,
        after: Position,
    ) -> DatabaseFuture<'a, Vec<DeadLetter>> {
        let name = name.to_owned();
        let read = move |connection: &Connection| database::dead_letters(connection, &name, after);
        Box::pin(self.place.write(read))
    }

    fn replay<'a>(
        &'a self,
        name: &'a str,
        position: Option<Position>,
    ) -> DatabaseFuture<'a, usize> {
        Box::pin(database::replay(&self.place, name, position))
    }

    fn rebuild<'a>(&'a self, name: &'a str, afresh: bool) -> DatabaseFuture<'a, Self> {
        Box::pin(Self::open(&self.place, name, afresh))
    }

    fn swap<'a>(
        &'a self,
        rebuild: &'a Self,
        lease: &'a Lease,
    ) -> DatabaseFuture<'a, bool, LeaseError> {
        Box::pin(rebuild.swap(&self.place, lease))
    }
}

impl std::fmt::Debug for SqliteRebuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteRebuild")
            .field("path", &self.place.path())
            .finish_non_exhaustive()
    }
}
