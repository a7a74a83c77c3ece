//! What a projection writes through: [`SqliteTransaction`].

use std::sync::Arc;

use rusqlite::{Connection, Params, Row, ffi};

use crate::sqlite::{read_model::target::Place, schema::BUSY, write::write_lock::Turn};

/// A transaction of the file that holds the events, for a projection to write through.
///
/// It begins when it is first used; from then on nobody else writes to the file until the runner commits it. In a rebuild
/// it is a transaction of a file beside it, in which tables of the same names stand for the new read model.
///
/// Statements are prepared once and kept.
pub struct SqliteTransaction {
    place: Arc<Place>,
    open: Option<Open>,
    /// It could not begin.
    failed: bool,
}

/// What is held from the first use on.
struct Open {
    connection: Connection,
    _turn: Turn,
}

impl SqliteTransaction {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            open: None,
            failed: false,
        }
    }

    /// The connection, for whatever the methods here do not offer. Do not begin or end transactions on it.
    ///
    /// # Errors
    /// `SQLITE_BUSY` when others write for too long.
    pub fn connection(&mut self) -> rusqlite::Result<&Connection> {
        if self.open.is_none() {
            self.failed = true;
            self.open = Some(self.begin()?);
            self.failed = false;
        }
        self.open
            .as_ref()
            .map(|open| &open.connection)
            .ok_or_else(busy)
    }

    fn begin(&self) -> rusqlite::Result<Open> {
        let turn = self.place.turns.take(BUSY).ok_or_else(busy)?;
        let connection = self.place.take()?;
        let begun = connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]));
        match begun {
            Ok(_) => Ok(Open {
                connection,
                _turn: turn,
            }),
            Err(error) => {
                self.place.give_back(connection);
                Err(error)
            }
        }
    }

    /// Runs one statement; says how many rows it changed.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn execute(&mut self, sql: &str, params: impl Params) -> rusqlite::Result<usize> {
        self.connection()?.prepare_cached(sql)?.execute(params)
    }

    /// Runs several statements without parameters.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn execute_batch(&mut self, sql: &str) -> rusqlite::Result<()> {
        self.connection()?.execute_batch(sql)
    }

    /// Reads one row, what the transaction has written included.
    ///
    /// # Errors
    /// What SQLite says; `QueryReturnedNoRows` if there is none.
    pub fn query_row<T>(
        &mut self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.connection()?
            .prepare_cached(sql)?
            .query_row(params, read)
    }

    /// Whether it could begin, and nothing that was written is lost: a full disk, for one, makes SQLite roll back by itself.
    pub(crate) fn is_usable(&self) -> bool {
        let is_open = |open: &Open| !open.connection.is_autocommit();
        !self.failed && self.open.as_ref().is_none_or(is_open)
    }

    /// Ends it with a commit.
    pub(crate) fn commit(mut self) -> rusqlite::Result<()> {
        let place = self.place.clone();
        let connection = self.connection()?;
        let committed = connection
            .prepare_cached("COMMIT")
            .and_then(|mut commit| commit.execute([]));
        match &committed {
            Ok(_) => place.disk.check_in(connection),
            Err(error) => place.disk.note(error),
        }
        committed.map(drop)
    }
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            if !open.connection.is_autocommit() {
                let _ = open.connection.execute_batch("ROLLBACK");
            }
            // Before the turn ends, so that the next one finds it.
            self.place.give_back(open.connection);
        }
    }
}

impl std::fmt::Debug for SqliteTransaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteTransaction")
            .field("begun", &self.open.is_some())
            .finish_non_exhaustive()
    }
}

/// Somebody in this process has had the turn for too long.
pub(crate) fn busy() -> rusqlite::Error {
    let why = "others have been writing to this file for too long".to_owned();
    rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), Some(why))
}
