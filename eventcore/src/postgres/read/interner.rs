//! The feed's interner: names that rows contain as numbers, so that the server need not look them
//! up for each event, and the request for unknown names.
//!
//! Numbers are only valid within one history: a server that takes over in a failover may lack the
//! latest events, and give the numbers of their streams to other streams. So cached names are only
//! used while the log still contains the latest event that they were learned with.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::SystemTime,
};

use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::postgres::{
    connection::pool::Pool,
    connection::statement::{Parameters, Query},
    error::Failure,
};
use crate::{
    store::{EventStoreError, MAX_PAGE_EVENTS},
    stream::StreamId,
};

/// The maximum number of cached names of streams, and of types.
const CACHE: usize = 100_000;

#[derive(Default)]
pub(crate) struct Names {
    streams: HashMap<i64, StreamId>,
    types: HashMap<i32, Arc<str>>,
    latest: Latest,
}

/// Returns the query for the names of streams and types by number.
pub(crate) fn query(schema: &str) -> Query {
    const NAMES: [Type; 5] = [
        Type::INT8_ARRAY,
        Type::INT4_ARRAY,
        Type::INT8,
        Type::UUID,
        Type::TIMESTAMPTZ,
    ];
    Query::new(
        "read_names",
        include_str!("../sql/read_names.sql"),
        &NAMES,
        schema,
    )
}

/// Requests the names of some streams and types. Returns no rows if the log has another event at
/// the position of `latest`.
pub(crate) async fn ask(
    pool: &Pool,
    query: &Query,
    unknown: &Unknown,
    latest: Latest,
) -> Result<Vec<Row>, Failure> {
    let streams: Vec<_> = unknown.streams.iter().collect();
    let types: Vec<_> = unknown.types.iter().collect();
    let Latest {
        position,
        event_id,
        recorded_at,
    } = latest;
    let parameters: Parameters<'_> = &[&streams, &types, &position, &event_id, &recorded_at];
    pool.read(query, parameters).await
}

/// The latest of the events with which names were learned. Its time makes it unique: a commit that
/// is repeated elsewhere has the same event ids, and possibly the same positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latest {
    /// 0 if nothing was learned.
    pub(crate) position: i64,
    pub(crate) event_id: Uuid,
    pub(crate) recorded_at: SystemTime,
}

impl Latest {
    pub(crate) fn max(self, other: Self) -> Self {
        if other.position > self.position {
            other
        } else {
            self
        }
    }
}

impl Default for Latest {
    fn default() -> Self {
        Self {
            position: 0,
            event_id: Uuid::nil(),
            recorded_at: SystemTime::UNIX_EPOCH,
        }
    }
}

/// The numbers in a page whose names are not known yet.
#[derive(Debug, Default)]
pub(crate) struct Unknown {
    pub(crate) streams: HashSet<i64>,
    pub(crate) types: HashSet<i32>,
}

impl Unknown {
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.types.is_empty()
    }
}

impl Names {
    pub(crate) fn latest(&self) -> Latest {
        self.latest
    }

    /// Adds the names that are contained in a page, and returns the numbers whose names are
    /// missing.
    pub(crate) fn learn(&mut self, page: &[Row]) -> Result<Unknown, EventStoreError> {
        if self.streams.len() > CACHE - MAX_PAGE_EVENTS {
            self.streams.clear();
        }
        if self.types.len() > CACHE - MAX_PAGE_EVENTS {
            self.types.clear();
        }
        let mut unknown = Unknown::default();
        for row in page {
            let Some(position) = row.try_get::<_, Option<i64>>(1).map_err(broken)? else {
                continue;
            };
            if position > self.latest.position {
                self.latest = Latest {
                    position,
                    event_id: row.try_get(4).map_err(broken)?,
                    recorded_at: row.try_get(6).map_err(broken)?,
                };
            }
            let (stream, event_type) = numbers(row)?;
            if let Some(name) = row.try_get(2).map_err(broken)? {
                self.streams.insert(stream, stream_id(stream, name)?);
            } else if !self.streams.contains_key(&stream) {
                unknown.streams.insert(stream);
            }
            if !self.types.contains_key(&event_type) {
                unknown.types.insert(event_type);
            }
        }
        Ok(unknown)
    }

    /// Adds the requested names. Returns `true` if none is missing.
    pub(crate) fn add(
        &mut self,
        mut unknown: Unknown,
        rows: &[Row],
    ) -> Result<bool, EventStoreError> {
        for row in rows {
            let (id, name): (i64, &str) = (
                row.try_get(1).map_err(broken)?,
                row.try_get(2).map_err(broken)?,
            );
            if row.try_get(0).map_err(broken)? {
                unknown.streams.remove(&id);
                self.streams.insert(id, stream_id(id, name)?);
            } else if let Ok(id) = i32::try_from(id) {
                unknown.types.remove(&id);
                self.types.insert(id, name.into());
            }
        }
        Ok(unknown.is_empty())
    }

    /// Returns the stream and the type of a row.
    pub(crate) fn of(&self, row: &Row) -> Result<(StreamId, Arc<str>), EventStoreError> {
        let (stream, event_type) = numbers(row)?;
        self.streams
            .get(&stream)
            .cloned()
            .zip(self.types.get(&event_type).cloned())
            .ok_or_else(|| nameless(row))
    }
}

/// The error of a row whose stream or type has no name.
pub(crate) fn nameless(row: &Row) -> EventStoreError {
    match numbers(row) {
        Ok((stream, event_type)) => EventStoreError::corrupt(format!(
            "stream number {stream} or event type number {event_type} has no name"
        )),
        Err(error) => error,
    }
}

fn numbers(row: &Row) -> Result<(i64, i32), EventStoreError> {
    Ok((
        row.try_get(9).map_err(broken)?,
        row.try_get(10).map_err(broken)?,
    ))
}

fn stream_id(number: i64, name: &str) -> Result<StreamId, EventStoreError> {
    StreamId::new(name).map_err(|error| {
        EventStoreError::corrupt(format!("the name of stream number {number}: {error}"))
    })
}

#[allow(clippy::needless_pass_by_value, reason = "it is passed by name")]
fn broken(error: tokio_postgres::Error) -> EventStoreError {
    EventStoreError::unreadable(&error)
}
