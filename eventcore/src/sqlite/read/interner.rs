//! The interner of names. The rows of streams and types never change once they are committed.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rusqlite::{Connection, OptionalExtension};

use crate::sqlite::error::of_read;
use crate::{
    store::{EventSelector, EventStoreError},
    stream::StreamId,
};

/// The number of streams that are cached, in each direction.
const CACHE: usize = 100_000;

/// The ids of committed streams that a store's threads have seen. A clone is another handle to the
/// same ids.
#[derive(Clone, Default)]
pub(crate) struct StreamIds(Arc<RwLock<HashMap<StreamId, i64>>>);

impl StreamIds {
    pub(crate) fn get(&self, stream: &StreamId) -> Option<i64> {
        let ids = self.0.read().unwrap_or_else(PoisonError::into_inner);
        ids.get(stream).copied()
    }

    /// Returns the ids of some streams, in order.
    pub(crate) fn of<'s>(&self, streams: impl Iterator<Item = &'s StreamId>) -> Vec<Option<i64>> {
        let ids = self.0.read().unwrap_or_else(PoisonError::into_inner);
        streams.map(|stream| ids.get(stream).copied()).collect()
    }

    /// Adds committed streams.
    pub(crate) fn learn(&self, committed: impl IntoIterator<Item = (StreamId, i64)>) {
        let mut ids = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= CACHE {
            ids.clear();
        }
        ids.extend(committed);
    }
}

/// Returns the row of a stream, if it has one.
pub(crate) fn find(connection: &Connection, stream: &StreamId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM streams WHERE name = ?1")?
        .query_row([stream.as_str()], |row| row.get(0))
        .optional()
}

/// The names that a reader has cached.
pub(crate) struct Names {
    ids: StreamIds,
    streams: HashMap<i64, StreamId>,
    /// The type with id n is at index n - 1.
    types: Vec<EventType>,
}

struct EventType {
    category: Box<str>,
    name: Arc<str>,
}

/// The event types selected by a filter.
pub(crate) enum Selected {
    Every,
    /// In ascending order.
    Types(Vec<i64>),
}

impl Names {
    pub(crate) fn new(ids: StreamIds) -> Self {
        Self {
            ids,
            streams: HashMap::new(),
            types: Vec::new(),
        }
    }

    pub(crate) fn stream_id(
        &self,
        connection: &Connection,
        stream: &StreamId,
    ) -> Result<Option<i64>, EventStoreError> {
        if let Some(id) = self.ids.get(stream) {
            return Ok(Some(id));
        }
        let id = find(connection, stream).map_err(of_read)?;
        if let Some(id) = id {
            self.ids.learn([(stream.clone(), id)]);
        }
        Ok(id)
    }

    pub(crate) fn stream(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> Result<StreamId, EventStoreError> {
        if let Some(stream) = self.streams.get(&id) {
            return Ok(stream.clone());
        }
        let sql = "SELECT name FROM streams WHERE id = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(of_read)?;
        let stream = statement
            .query_row([id], |row| {
                let name = row.get_ref(0)?.as_str()?;
                Ok(StreamId::new(name).map_err(|error| EventStoreError::unreadable(&error)))
            })
            .optional()
            .map_err(of_read)?
            .ok_or_else(|| EventStoreError::corrupt(format!("stream number {id} has no name")))??;
        if self.streams.len() >= CACHE {
            self.streams.clear();
        }
        self.streams.insert(id, stream.clone());
        Ok(stream)
    }

    pub(crate) fn type_name(
        &mut self,
        connection: &Connection,
        id: i64,
    ) -> Result<Arc<str>, EventStoreError> {
        if self.event_type(id).is_none() {
            self.learn_types(connection)?;
        }
        self.event_type(id)
            .map(|event_type| event_type.name.clone())
            .ok_or_else(|| EventStoreError::corrupt(format!("event type number {id} has no name")))
    }

    fn event_type(&self, id: i64) -> Option<&EventType> {
        let place = usize::try_from(id).ok()?.checked_sub(1)?;
        self.types.get(place)
    }

    /// Returns the selected types that exist in the current snapshot.
    pub(crate) fn select(
        &mut self,
        connection: &Connection,
        selectors: &[EventSelector],
    ) -> Result<Selected, EventStoreError> {
        self.learn_types(connection)?;
        let selected: Vec<i64> = (1..)
            .zip(&self.types)
            .filter(|(_, of)| {
                let mut selectors = selectors.iter();
                selectors.any(|selector| selector.matches(&of.category, &of.name))
            })
            .map(|(id, _)| id)
            .collect();
        Ok(if selected.len() == self.types.len() {
            Selected::Every
        } else {
            Selected::Types(selected)
        })
    }

    /// Reads the types added since the last call. Their ids are dense from 1: no type is ever
    /// removed.
    fn learn_types(&mut self, connection: &Connection) -> Result<(), EventStoreError> {
        let known = i64::try_from(self.types.len()).unwrap_or(i64::MAX);
        let sql = "SELECT id, category, name FROM event_types WHERE id > ?1 ORDER BY id";
        let mut statement = connection.prepare_cached(sql).map_err(of_read)?;
        let mut rows = statement.query([known]).map_err(of_read)?;
        while let Some(row) = rows.next().map_err(of_read)? {
            let id: usize = row.get(0).map_err(of_read)?;
            let next = self.types.len() + 1;
            if id != next {
                return Err(EventStoreError::corrupt(format!(
                    "event type number {next} is missing"
                )));
            }
            let name: String = row.get(2).map_err(of_read)?;
            self.types.push(EventType {
                category: row.get(1).map_err(of_read)?,
                name: name.into(),
            });
        }
        Ok(())
    }
}
