//! The feed's interner: names that rows give by number, so that the server need not look them up for each event,
//! and the request for unknown names.
//!
//! A number has its name in one history only: a server that takes over may lack the latest events of the one before it, and
//! give the numbers of their streams to others. So what is remembered counts only while the log still has the latest event
//! that it was learned with.

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
    error::{Failure, corrupt},
};
use crate::{
    store::{EventStoreError, MAX_PAGE_EVENTS},
    stream::StreamId,
};

/// Names of streams, and of types, that are remembered.
const CACHE: usize = 100_000;

#[derive(Default)]
pub(crate) struct Names {
    streams: HashMap<i64, StreamId>,
    types: HashMap<i32, Arc<str>>,
    latest: Latest,
}

/// Asks for the names of streams and of types by number.
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

/// The names of some streams and types; none if the log has another event than `latest` there.
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

/// The latest event of those with which names were learned. With its time, it is no other's: a commit that is repeated
/// elsewhere has its event ids again, and perhaps its positions.
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

/// The names in a page that are not known yet.
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

    /// Learns the names that came with a page; says which did not.
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

    /// Learns what was asked for; whether that is all of it.
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

    /// The stream and the type of a row.
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
        Ok((stream, event_type)) => corrupt(format!(
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
    StreamId::new(name)
        .map_err(|error| corrupt(format!("the name of stream number {number}: {error}")))
}

#[allow(clippy::needless_pass_by_value, reason = "it is passed by name")]
fn broken(error: tokio_postgres::Error) -> EventStoreError {
    corrupt(error.to_string())
}
