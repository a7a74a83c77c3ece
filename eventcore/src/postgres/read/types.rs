//! The interner of event types: pages of streams refer to their names by number.
//!
//! Like the feed's names, they are only valid within one history, so each page is read with the
//! latest event that they were learned with, and is empty if the log has another event there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_postgres::Row;

use crate::postgres::read::interner::Latest;

/// The type names of one history. A page uses the names with which it was requested, even if other
/// reads learn more in the meantime.
#[derive(Debug, Default, Clone)]
pub(crate) struct Types {
    names: HashMap<i32, Arc<str>>,
    pub(crate) latest: Latest,
}

impl Types {
    pub(crate) fn name(&self, number: i32) -> Option<&Arc<str>> {
        self.names.get(&number)
    }

    /// Returns these names with the requested ones added, or the number of a name that is still
    /// missing.
    pub(crate) fn with(
        &self,
        mut unknown: HashSet<i32>,
        rows: &[Row],
        latest: Latest,
    ) -> Result<Result<Self, i32>, tokio_postgres::Error> {
        let mut names = self.names.clone();
        for row in rows {
            let number = i32::try_from(row.try_get::<_, i64>(1)?).unwrap_or_default();
            unknown.remove(&number);
            names.insert(number, row.try_get::<_, &str>(2)?.into());
        }
        Ok(match unknown.into_iter().next() {
            Some(missing) => Err(missing),
            None => Ok(Self { names, latest }),
        })
    }
}

/// The type names shared by all readers of a store.
#[derive(Debug, Default)]
pub(crate) struct KnownTypes(Mutex<Arc<Types>>);

impl KnownTypes {
    pub(crate) fn get(&self) -> Arc<Types> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set(&self, types: Arc<Types>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = types;
    }
}
