//! Numbers as rows have them, and the row of a key.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use crate::store::{Appended, EventStoreError};
use crate::{Position, event::EventId, sqlite::error::corrupt};

/// Numbers of rows fit into what SQLite stores: it would take longer than anyone lives to count further.
pub(crate) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn number(stored: i64) -> Result<u64, EventStoreError> {
    u64::try_from(stored).map_err(|_| corrupt(format!("a version or position is {stored}")))
}

/// The id of an event as a column has it.
pub(crate) fn event_id(row: &Row<'_>, column: usize) -> rusqlite::Result<EventId> {
    row.get(column)
        .map(|id| EventId::from_uuid(Uuid::from_bytes(id)))
}

/// The result of the commit that was made under this key, and its id.
pub(crate) fn earlier(
    connection: &Connection,
    key: &str,
) -> rusqlite::Result<Option<(Appended, [u8; 16])>> {
    let sql = "SELECT position, events, commit_id FROM idempotency WHERE key = ?1";
    let earlier = |row: &Row<'_>| {
        let (position, events): (u64, u64) = (row.get(0)?, row.get(1)?);
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        let appended = Appended {
            position: Position::new(position),
            events,
            repeated: true,
        };
        Ok((appended, row.get(2)?))
    };
    connection
        .prepare_cached(sql)?
        .query_row([key], earlier)
        .optional()
}
