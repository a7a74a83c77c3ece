//! A read model that is built anew in a file beside the store's, and then takes the live one's place.
//!
//! In that file tables of the same names stand for the new read model, so a projection's SQL needs no change, and commands
//! are not held up by it. The swap copies the tables into the store's file, in one transaction.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::sqlite::{
    convert::sql,
    read_model::target::{Place, blocking},
    read_model::transaction::{SqliteTransaction, busy},
    schema::BUSY,
};
use crate::{
    projection::{Lease, LeaseError},
    store::EventStoreError,
};

/// Names a rebuild, so that what is left of one whose file could not be removed is not taken for the beginning of another.
const BIRTH: &str = "eventcore/birth";

pub(crate) async fn open(
    store: &Arc<Place>,
    name: &str,
    afresh: bool,
) -> Result<Arc<Place>, EventStoreError> {
    let mut path = store.path().as_os_str().to_owned();
    path.push(format!(".{name}.rebuild"));
    let (path, file, swapped) = (
        PathBuf::from(path),
        store.path().to_owned(),
        swapped_key(name),
    );
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
    blocking(opened).await?.map_err(|error| store.failed(error))
}

pub(crate) async fn swap(
    store: &Arc<Place>,
    rebuild: &Arc<Place>,
    name: &str,
    lease: &Lease,
) -> Result<bool, LeaseError> {
    let (rebuild, store, lease) = (rebuild.clone(), store.clone(), lease.clone());
    let name = name.to_owned();
    let swap = move || {
        let failed = |error| LeaseError::Database(store.failed(error));
        let Some(_turn) = store.turns.take(BUSY) else {
            return Err(failed(busy()));
        };
        let connection = store.take().map_err(failed)?;
        let path = rebuild.path().display().to_string();
        let swapped = connection
            .execute("ATTACH DATABASE ?1 AS rebuild", [path])
            .and_then(|_| replace(&connection, &name, &lease));
        if !connection.is_autocommit() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        let _ = connection.execute_batch("DETACH DATABASE rebuild");
        store.give_back(connection);
        match swapped.map_err(failed)? {
            Swapped::Done => {
                rebuild.close();
                remove(rebuild.path());
                Ok(true)
            }
            Swapped::Behind => Ok(false),
            Swapped::Lost => Err(LeaseError::Lost),
        }
    };
    blocking(swap).await?
}

enum Swapped {
    Done,
    /// The live one has come further.
    Behind,
    /// Another process leads the rebuild.
    Lost,
}

fn swapped_key(name: &str) -> String {
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
fn replace(connection: &Connection, name: &str, lease: &Lease) -> rusqlite::Result<Swapped> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let built: Option<i64> = connection
        .query_row(
            "SELECT position FROM rebuild.eventcore_projections WHERE name = ?1 AND fence = ?2",
            params![name, sql(lease.fence)],
            |row| row.get(0),
        )
        .optional()?;
    let Some(built) = built else {
        return Ok(Swapped::Lost);
    };
    let live: Option<i64> = connection
        .query_row(
            "SELECT position FROM main.eventcore_projections WHERE name = ?1",
            [name],
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
        params![name, built],
    )?;
    connection.execute(
        "INSERT OR REPLACE INTO main.eventcore_projections (name, position, fence, leads_until)
         SELECT ?1, position, 0, 0 FROM rebuild.eventcore_projections WHERE name = ?2",
        [swapped_key(name).as_str(), BIRTH],
    )?;
    connection.execute(
        "DELETE FROM main.eventcore_dead_letters WHERE projection = ?1",
        [name],
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
