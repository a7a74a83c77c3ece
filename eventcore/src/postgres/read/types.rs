//! The interner of event types: pages of streams refer to their names by number.
//!
//! Like the names of the feed they hold in one history only, so each page is read with the latest event that they were
//! learned with, and is none if the log has another event there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_postgres::Row;

use crate::postgres::read::interner::Latest;

/// The names of one history. A page is read with the names that it was asked for with, whatever others learn meanwhile.
#[derive(Debug, Default, Clone)]
pub(crate) struct Types {
    names: HashMap<i32, Arc<str>>,
    pub(crate) latest: Latest,
}

impl Types {
    pub(crate) fn name(&self, number: i32) -> Option<&Arc<str>> {
        self.names.get(&number)
    }

    /// These, and the ones that were asked for; or the number of one that is still missing.
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

/// The names that all readers of one store share.
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
