//! Detects that the file was deleted, moved or replaced while it was open.
//!
//! The system keeps such a file for the processes that have it open, so commits to it succeed, but
//! are gone at the next open. The check must not open the file itself: closing it would release the
//! locks that SQLite holds on it in this process.

use std::{
    io,
    path::{Path, PathBuf},
};

use rusqlite::ffi;

/// The identities of the database file and its log when the store was opened.
pub(crate) struct Files([File; 2]);

struct File {
    path: PathBuf,
    id: Id,
}

/// Identifies a file as long as it exists, wherever it is. While a file is open, its number is not
/// reused.
#[cfg(target_os = "linux")]
type Id = (u32, u32, u64);

/// Asks for the number only. A request for the times as well, such as that of `Path::metadata`,
/// makes Linux record the next write with a new time, which the fsync of the next commit then has
/// to journal: 100 µs instead of 1.
#[cfg(target_os = "linux")]
fn id(path: &Path) -> io::Result<Id> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::INO)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino))
}

#[cfg(all(unix, not(target_os = "linux")))]
type Id = (u64, u64);

#[cfg(all(unix, not(target_os = "linux")))]
fn id(path: &Path) -> io::Result<Id> {
    use std::os::unix::fs::MetadataExt;
    let metadata = path.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Other systems do not allow an open file to be deleted, moved or replaced.
#[cfg(not(unix))]
type Id = ();

#[cfg(not(unix))]
fn id(_: &Path) -> io::Result<Id> {
    Ok(())
}

impl Files {
    /// Returns the files of an open database, including its log.
    pub(crate) fn of(database: &Path) -> rusqlite::Result<Self> {
        let file = |path: PathBuf| match id(&path) {
            Ok(id) => Ok(File { path, id }),
            Err(_) => Err(moved(&path)),
        };
        // Symbolic links are followed: the log is beside the real file.
        let target = database.canonicalize().map_err(|_| moved(database))?;
        let mut log = target.into_os_string();
        log.push("-wal");
        Ok(Self([file(database.to_owned())?, file(log.into())?]))
    }

    /// Fails if one of the files is no longer at its path.
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

/// Returns the error of a moved file, with the code that SQLite uses for it in other journal modes.
fn moved(path: &Path) -> rusqlite::Error {
    let why = format!(
        "{} was deleted, moved or replaced while it was open",
        path.display()
    );
    let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
    rusqlite::Error::SqliteFailure(code, Some(why))
}

/// Returns `true` for the error of a file that is no longer at its path.
pub(crate) fn is_moved(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == ffi::SQLITE_READONLY_DBMOVED)
}
