//! Detects that the file was deleted, moved or replaced while it was open.
//!
//! The system keeps such a file for those who have it open, so commits to it succeed, and are gone at the next open. The file
//! itself must not be opened here to find out: closing it would give up the locks that SQLite holds on it in this process.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ffi;

/// The database file and its log, as they were when the store was opened.
pub(crate) struct Files([File; 2]);

struct File {
    path: PathBuf,
    id: Id,
}

/// Names a file as long as it exists, wherever it is. While somebody has a file open, no other one gets its number.
#[cfg(unix)]
type Id = (u64, u64);

#[cfg(unix)]
fn id(path: &Path) -> io::Result<Id> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Elsewhere the system lets nobody delete, move or replace a file that is open.
#[cfg(not(unix))]
type Id = ();

#[cfg(not(unix))]
fn id(_: &Path) -> io::Result<Id> {
    Ok(())
}

impl Files {
    /// The files of a database that is open, its log included.
    pub(crate) fn of(database: &Path) -> rusqlite::Result<Self> {
        let file = |path: PathBuf| match id(&path) {
            Ok(id) => Ok(File { path, id }),
            Err(_) => Err(moved(&path)),
        };
        // Beside the file that a link leads to.
        let target = database.canonicalize().map_err(|_| moved(database))?;
        let mut log = target.into_os_string();
        log.push("-wal");
        Ok(Self([file(database.to_owned())?, file(log.into())?]))
    }

    /// Fails if one of them is not at its path any more.
    pub(crate) fn check(&self) -> rusqlite::Result<()> {
        match self
            .0
            .iter()
            .find(|file| id(&file.path).ok() != Some(file.id))
        {
            None => Ok(()),
            Some(file) => Err(moved(&file.path)),
        }
    }
}

/// SQLite has a code for this, which it uses in other journal modes.
fn moved(path: &Path) -> rusqlite::Error {
    let why = format!(
        "{} was deleted, moved or replaced while it was open",
        path.display()
    );
    let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
    rusqlite::Error::SqliteFailure(code, Some(why))
}

/// Returns `true` for the error of a file that is not at its path any more.
pub(crate) fn is_moved(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_DBMOVED)
}
