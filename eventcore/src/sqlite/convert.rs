//! Conversions of numbers and event ids to SQLite's types and back, and the lookup of idempotency
//! keys.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use crate::store::{CommitReceipt, EventStoreError, IdempotencyKey, KeyReused};
use crate::{Position, event::EventId};

/// Converts a number for SQLite. Counting beyond `i64::MAX` would take centuries.
pub(crate) fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn number(stored: i64) -> Result<u64, EventStoreError> {
    u64::try_from(stored)
        .map_err(|_| EventStoreError::corrupt(format!("a version or position is {stored}")))
}

/// Reads an event id from a column.
pub(crate) fn event_id(row: &Row<'_>, column: usize) -> rusqlite::Result<EventId> {
    row.get(column)
        .map(|id| EventId::from_uuid(Uuid::from_bytes(id)))
}

/// A commit that was made under an idempotency key.
pub(crate) struct Keyed {
    /// The commit's result, which is returned when the request is repeated.
    pub(crate) appended: CommitReceipt,
    pub(crate) commit_id: [u8; 16],
    /// The fingerprint of the request for which the key was used.
    pub(crate) fingerprint: Option<Vec<u8>>,
}

impl Keyed {
    /// Returns the result of another commit under the key.
    pub(crate) fn answer(self, key: &IdempotencyKey) -> Result<CommitReceipt, KeyReused> {
        key.repeats(self.appended, self.fingerprint.as_deref())
    }
}

/// Looks up the commit that was made under this key.
pub(crate) fn find_by_idempotency_key(
    connection: &Connection,
    key: &IdempotencyKey,
) -> rusqlite::Result<Option<Keyed>> {
    let sql = "SELECT position, events, commit_id, fingerprint FROM idempotency WHERE key = ?1";
    let earlier = |row: &Row<'_>| {
        let (position, events): (u64, u64) = (row.get(0)?, row.get(1)?);
        Ok(Keyed {
            appended: CommitReceipt {
                position: Position::new(position),
                events: usize::try_from(events).unwrap_or(usize::MAX),
                repeated: true,
            },
            commit_id: row.get(2)?,
            fingerprint: row.get(3)?,
        })
    };
    connection
        .prepare_cached(sql)?
        .query_row([key.as_str()], earlier)
        .optional()
}
