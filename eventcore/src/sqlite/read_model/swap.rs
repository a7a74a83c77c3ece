//! Replaces the contents of a whole file: a rebuild's with an empty read model, and the live one
//! with the rebuilt one.
//!
//! The backup API copies pages, so tables, indexes, views and triggers of any kind need no special
//! handling. The copy is one transaction of the target: readers keep their snapshot, later
//! statements see the new contents and are recompiled, and a crash leaves either the old or the new
//! contents. A file that others may have open is never unlinked: the old log would be replayed into
//! the new file.

use std::{collections::BTreeSet, sync::Arc};

use rusqlite::{
    Connection, OptionalExtension,
    backup::{Backup, StepResult},
    ffi, params,
};

use crate::{
    Position,
    chain::chain,
    projection::{Lease, LeaseError},
    sqlite::{
        convert::sql,
        read_model::{
            file::{self, failure},
            target::{Target, blocking},
            transaction::busy,
        },
        schema::BUSY,
    },
    store::EventStoreError,
};

/// Prepares a rebuild's file, and returns the birth mark of its contents.
pub(crate) async fn open(
    live: &Arc<Target>,
    rebuild: &Arc<Target>,
    afresh: bool,
) -> Result<i64, EventStoreError> {
    let (target, live) = (rebuild.clone(), live.clone());
    let opened = move || {
        let _turn = target.turns.take(BUSY).ok_or_else(busy)?;
        let mut connection = target.connect()?;
        let birth = birth(&connection)?;
        // If the marks are equal, this rebuild was swapped in, but its process did not clean up.
        if !afresh && birth != self::birth(&live.connect()?)? {
            return Ok(birth);
        }
        let page_size = live
            .connect()?
            .pragma_query_value(None, "page_size", |row| row.get(0))?;
        empty(&target, &mut connection, page_size, None)?;
        self::birth(&connection)
    };
    blocking(opened)
        .await?
        .map_err(|error| rebuild.failed(error))
}

/// Copies the rebuilt read model over the live one, and empties the rebuild's file.
pub(crate) async fn swap(
    live: &Arc<Target>,
    rebuild: &Arc<Target>,
    lease: &Lease,
    head: Position,
) -> Result<bool, LeaseError> {
    let (target, source, lease) = (live.clone(), rebuild.clone(), lease.clone());
    let swapped = move || {
        // Waits for this process's writes to both files; SQLite's locks keep other processes out.
        let _live = target.turns.take(BUSY).ok_or_else(busy)?;
        let _rebuild = source.turns.take(BUSY).ok_or_else(busy)?;
        let swapped = replace(&target, &source, &lease, head)?;
        if let Swapped::Done(birth) = swapped {
            // The swap is done. Whatever remains is recognized by its birth mark later.
            if let Err(error) = clean_up(&target, &source, birth) {
                tracing::warn!(
                    projection = &*target.name,
                    error = chain(&error),
                    "the file of the rebuild could not be emptied"
                );
            }
        }
        Ok(swapped)
    };
    match blocking(swapped).await? {
        Ok(Swapped::Done(_)) => Ok(true),
        Ok(Swapped::Behind) => Ok(false),
        Ok(Swapped::Lost) => Err(LeaseError::Lost),
        Err(error) => Err(live.failed(error).into()),
    }
}

enum Swapped {
    /// Swapped in, with this birth mark.
    Done(i64),
    /// The live read model has advanced further.
    Behind,
    /// Another process leads the rebuild or has ended it.
    Lost,
}

fn replace(
    live: &Target,
    rebuild: &Target,
    lease: &Lease,
    head: Position,
) -> rusqlite::Result<Swapped> {
    let (source, note) = (rebuild.connect()?, rebuild.connect()?);
    let (mut target, look) = (live.connect()?, live.connect()?);
    // Otherwise a power failure after the rebuild's file was emptied could restore the old
    // contents.
    target.pragma_update(None, "synchronous", "FULL")?;
    let backup = Backup::new(&source, &mut target)?;
    // No page is copied yet, but from now on no other connection can write to the live file.
    locked(backup.step(0)?)?;
    let (position, fence): (i64, i64) = look.query_row(
        "SELECT position, fence FROM eventcore_projections",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    // The fence rises above both, so that the leaders of both read models detect the swap.
    let noted = note
        .query_row(
            "UPDATE eventcore_projections SET fence = max(fence, ?1) + 1, leader = NULL, leads_until = 0, error = NULL
              WHERE fence = ?2 RETURNING position, birth",
            params![fence, sql(lease.fence)],
            |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((built, birth)) = noted else {
        return Ok(Swapped::Lost);
    };
    // A position beyond the store's head comes from events that the store has lost.
    if position > built && position <= sql(head.get()) {
        return Ok(Swapped::Behind);
    }
    warn_of_lost(live, &look, &note)?;
    match backup.step(-1)? {
        StepResult::Done => Ok(Swapped::Done(birth)),
        step => {
            locked(step)?;
            let why = "the swap was incomplete and was rolled back".to_owned();
            Err(failure(ffi::SQLITE_BUSY, why))
        }
    }
}

/// Empties the rebuild's file, and truncates the logs, which now hold two copies of the read model.
fn clean_up(live: &Target, rebuild: &Target, birth: i64) -> rusqlite::Result<()> {
    let (target, mut connection) = (live.connect()?, rebuild.connect()?);
    let page_size = target.pragma_query_value(None, "page_size", |row| row.get(0))?;
    empty(rebuild, &mut connection, page_size, Some(birth))?;
    for connection in [&target, &connection] {
        // A reader may prevent the truncation; later checkpoints move the log into the file as
        // usual.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(())
}

/// Replaces the contents of a rebuild's file with an empty read model, if it has the given birth
/// mark. A rebuild in progress on it detects the change by the fence.
fn empty(
    target: &Target,
    connection: &mut Connection,
    page_size: i64,
    only: Option<i64>,
) -> rusqlite::Result<()> {
    let look = target.connect()?;
    let source = file::empty(page_size, &target.name)?;
    let backup = Backup::new(&source, connection)?;
    locked(backup.step(0)?)?;
    if only.is_some_and(|only| birth(&look).is_ok_and(|found| found != only)) {
        return Ok(());
    }
    let fence: i64 = look.query_row("SELECT fence FROM eventcore_projections", [], |row| {
        row.get(0)
    })?;
    source.execute("UPDATE eventcore_projections SET fence = ?1 + 1", [fence])?;
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        step => locked(step),
    }
}

fn birth(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT birth FROM eventcore_projections", [], |row| {
        row.get(0)
    })
}

/// Converts a backup step that was blocked by a lock of another connection into an error.
fn locked(step: StepResult) -> rusqlite::Result<()> {
    match step {
        StepResult::Done | StepResult::More => Ok(()),
        _ => Err(busy()),
    }
}

/// Warns of indexes, views and triggers that were created in the live file by other means and are
/// missing from the new one.
fn warn_of_lost(live: &Target, old: &Connection, new: &Connection) -> rusqlite::Result<()> {
    let names = |connection: &Connection| -> rusqlite::Result<BTreeSet<String>> {
        let mut statement =
            connection.prepare("SELECT type || ' ' || name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")?;
        let names = statement.query_map([], |row| row.get(0))?;
        names.collect()
    };
    let (old, new) = (names(old)?, names(new)?);
    let lost: Vec<_> = old.difference(&new).map(String::as_str).collect();
    if !lost.is_empty() {
        let lost = lost.join(", ");
        tracing::warn!(
            projection = &*live.name,
            lost,
            "the rebuilt read model lacks objects that the live one had"
        );
    }
    Ok(())
}
