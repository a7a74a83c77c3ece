//! Pages of a feed, read at a cost that grows with the number of matching events, not with the log.
//!
//! The index on types gives the positions of matching events, one window of positions at a time.
//! The events are then read in one scan if they are dense, and one by one otherwise.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use rusqlite::{OptionalExtension, Row, params};

use crate::sqlite::{
    convert::{event_id, sql},
    error::of_read,
    read::interner::{Names, Selected},
    read::thread::{Reader, text},
};
use crate::{
    Position, Version,
    event::{Metadata, RecordedEvent},
    store::{EventFilter, EventStoreError, FeedPage, MAX_PAGE_EVENTS, ReadFeedRequest, Room},
};

macro_rules! select_events {
    ($rest:literal) => {
        concat!(
            "SELECT position, stream, version, type, event_id, recorded_at, payload, metadata FROM events WHERE ",
            $rest
        )
    };
}

/// Column numbers in these queries.
const PAYLOAD: usize = 6;
const METADATA: usize = 7;

const SCAN: &str = select_events!("position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3");
const ONE: &str = select_events!("position = ?1");
const STREAM: &str = select_events!("stream = ?1 AND version > ?2 ORDER BY version LIMIT ?3");
/// An integer primary key is part of every index, so this query reads only the index.
const POSITIONS: &str = "SELECT position FROM events INDEXED BY events_by_type
     WHERE type IN (SELECT value FROM json_each(?1)) AND position > ?2 AND position <= ?3";

impl Reader {
    pub(crate) fn feed(&mut self, request: &ReadFeedRequest) -> Result<FeedPage, EventStoreError> {
        let limit = request.limit.clamp(1, MAX_PAGE_EVENTS);
        let head = self.head().map_err(of_read)?;
        let after = request.after;
        let mut found = Found {
            events: Vec::new(),
            room: Room::new(limit, self.limits.bytes),
            is_full: false,
        };
        if after < head {
            match &request.filter {
                EventFilter::All => self.scan(after, head, limit, &mut found)?,
                EventFilter::Stream(stream) => {
                    if let Some(id) = self.names.stream_id(&self.connection, stream)? {
                        let version = self.version_at(id, after)?;
                        let values = params![id, sql(version.get()), count(limit)];
                        let follow = Follow::Versions(version);
                        self.read(STREAM, values, follow, |_| true, &mut found)?;
                    }
                }
                EventFilter::AnyOf(selectors) => {
                    match self.names.select(&self.connection, selectors)? {
                        Selected::Every => self.scan(after, head, limit, &mut found)?,
                        Selected::Types(types) => {
                            self.of_types(&types, after, head, limit, &mut found)?;
                        }
                    }
                }
            }
        }
        let scanned_to = match found.events.last() {
            Some(last) if found.is_full || found.room.events() == 0 => last.position,
            _ => head,
        };
        Ok(FeedPage {
            events: found.events,
            scanned_to,
            head,
        })
    }

    fn scan(
        &mut self,
        after: Position,
        up_to: Position,
        limit: usize,
        found: &mut Found,
    ) -> Result<(), EventStoreError> {
        let values = params![sql(after.get()), sql(up_to.get()), count(limit)];
        self.read(SCAN, values, Follow::Positions(after), |_| true, found)
    }

    fn of_types(
        &mut self,
        types: &[i64],
        after: Position,
        head: Position,
        limit: usize,
        found: &mut Found,
    ) -> Result<(), EventStoreError> {
        let positions = self.positions(types, after, head, limit)?;
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else {
            return Ok(());
        };
        let (first, last) = (Position::new(*first), Position::new(*last));
        let is_dense = last.get() - first.get() < 3 * count_u64(positions.len());
        if is_dense {
            let before = Position::new(first.get().saturating_sub(1));
            let values = params![sql(before.get()), sql(last.get()), -1];
            let wanted = |of| types.binary_search(&of).is_ok();
            return self.read(SCAN, values, Follow::Positions(before), wanted, found);
        }
        for position in positions {
            if found.is_full {
                break;
            }
            let before = Position::new(position.saturating_sub(1));
            let values = params![sql(position)];
            self.read(ONE, values, Follow::Positions(before), |_| true, found)?;
        }
        Ok(())
    }

    /// Returns the first `limit` positions of events of these types, in ascending order.
    ///
    /// The index orders the positions of one type, but not those of several types, so they are read
    /// in windows of the log. The size of each window is estimated from the previous one.
    pub(crate) fn positions(
        &self,
        types: &[i64],
        after: Position,
        head: Position,
        limit: usize,
    ) -> Result<Vec<u64>, EventStoreError> {
        if types.is_empty() {
            return Ok(Vec::new());
        }
        let types = format!("{types:?}");
        let mut statement = self.connection.prepare_cached(POSITIONS).map_err(of_read)?;
        let mut positions: Vec<u64> = Vec::new();
        let (mut low, mut window) = (after.get(), count_u64(limit.max(64)));
        while low < head.get() && positions.len() < limit {
            let high = low.saturating_add(window).min(head.get());
            let before = positions.len();
            let mut rows = statement
                .query(params![types, sql(low), sql(high)])
                .map_err(of_read)?;
            while let Some(row) = rows.next().map_err(of_read)? {
                positions.push(row.get(0).map_err(of_read)?);
            }
            if let Some(found) = positions.get_mut(before..) {
                found.sort_unstable();
            }
            low = high;
            let found = count_u64(positions.len() - before);
            let missing = count_u64(limit.saturating_sub(positions.len()));
            window = window
                .saturating_mul(missing)
                .checked_div(found)
                .map_or(window.saturating_mul(8), |expected| {
                    expected.clamp(64, window.saturating_mul(8))
                });
        }
        positions.truncate(limit);
        Ok(positions)
    }

    /// Returns the version of a stream's latest event at or before a position, by bisection:
    /// versions and positions both increase.
    fn version_at(&self, stream: i64, position: Position) -> Result<Version, EventStoreError> {
        let latest = "SELECT max(version) FROM events WHERE stream = ?1";
        let of_version = "SELECT position FROM events WHERE stream = ?1 AND version = ?2";
        let mut latest = self.connection.prepare_cached(latest).map_err(of_read)?;
        let latest: Option<u64> = latest
            .query_row([stream], |row| row.get(0))
            .map_err(of_read)?;
        let mut of_version = self
            .connection
            .prepare_cached(of_version)
            .map_err(of_read)?;
        let (mut low, mut high) = (0, latest.unwrap_or(0));
        if position == Position::START {
            high = 0;
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let found: Option<u64> = of_version
                .query_row(params![stream, sql(middle)], |row| row.get(0))
                .optional()
                .map_err(of_read)?;
            let found = found.ok_or_else(|| {
                EventStoreError::corrupt(format!("stream number {stream} has no version {middle}"))
            })?;
            if found <= position.get() {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(Version::new(low))
    }

    /// Reads the events of a query that have a wanted type, until the page is full. A missing row
    /// is an error, not a gap.
    fn read(
        &mut self,
        query: &str,
        values: &[&dyn rusqlite::ToSql],
        mut follow: Follow,
        wanted: impl Fn(i64) -> bool,
        found: &mut Found,
    ) -> Result<(), EventStoreError> {
        let Self {
            connection, names, ..
        } = self;
        let mut statement = connection.prepare_cached(query).map_err(of_read)?;
        let mut rows = statement.query(values).map_err(of_read)?;
        while let Some(row) = rows.next().map_err(of_read)? {
            follow.next(row)?;
            let event_type = row.get(3).map_err(of_read)?;
            if wanted(event_type) {
                let bytes = text(row, PAYLOAD)?.len() + bytes_of(row, METADATA)?;
                found.is_full = !found.room.take(bytes);
                if found.is_full {
                    break;
                }
                let event = recorded(row, event_type, connection, names)?;
                found.events.push(event);
            }
        }
        Ok(())
    }
}

/// The events of a page that have been read so far.
struct Found {
    events: Vec<RecordedEvent>,
    room: Room,
    /// `true` if an event did not fit.
    is_full: bool,
}

/// The column whose values must be consecutive in the rows of a query, with its previous value.
enum Follow {
    Positions(Position),
    Versions(Version),
}

impl Follow {
    fn next(&mut self, row: &Row<'_>) -> Result<(), EventStoreError> {
        let (what, column, before) = match self {
            Self::Positions(before) => ("position", 0, before.get()),
            Self::Versions(before) => ("version", 2, before.get()),
        };
        let found: u64 = row.get(column).map_err(of_read)?;
        if before.checked_add(1) != Some(found) {
            let position: i64 = row.get(0).map_err(of_read)?;
            return Err(EventStoreError::corrupt(format!(
                "the event at position {position} has {what} {found}, and the one before it {before}: an event is missing"
            )));
        }
        match self {
            Self::Positions(before) => *before = Position::new(found),
            Self::Versions(before) => *before = Version::new(found),
        }
        Ok(())
    }
}

/// Returns the length of a text, or 0 for null.
fn bytes_of(row: &Row<'_>, column: usize) -> Result<usize, EventStoreError> {
    let text = row.get_ref(column).map_err(of_read)?;
    let bytes = text.as_bytes_or_null();
    let bytes = bytes.map_err(|error| EventStoreError::unreadable(&error))?;
    Ok(bytes.map_or(0, <[u8]>::len))
}

fn count(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX)
}

fn count_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

fn recorded(
    row: &Row<'_>,
    event_type: i64,
    connection: &rusqlite::Connection,
    names: &mut Names,
) -> Result<RecordedEvent, EventStoreError> {
    let position: u64 = row.get(0).map_err(of_read)?;
    let damaged = |what: &dyn std::fmt::Display| {
        EventStoreError::corrupt(format!("event at position {position}: {what}"))
    };
    let metadata = row.get_ref(METADATA).map_err(of_read)?;
    let metadata = match metadata.as_str_or_null().map_err(|error| damaged(&error))? {
        Some(text) => serde_json::from_str(text).map_err(|error| damaged(&error))?,
        None => Metadata::default(),
    };
    let micros: u64 = row.get(5).map_err(of_read)?;
    Ok(RecordedEvent {
        position: Position::new(position),
        stream: names.stream(connection, row.get(1).map_err(of_read)?)?,
        version: Version::new(row.get(2).map_err(of_read)?),
        event_id: event_id(row, 4).map_err(of_read)?,
        type_name: names.type_name(connection, event_type)?,
        payload: Bytes::copy_from_slice(text(row, PAYLOAD)?),
        metadata,
        recorded_at: UNIX_EPOCH
            .checked_add(Duration::from_micros(micros))
            .ok_or_else(|| damaged(&"its time is out of range"))?,
    })
}

#[cfg(test)]
mod tests;
