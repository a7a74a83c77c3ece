//! Waiters for the next event. The writer thread notifies them directly; while there are waiters,
//! the file is also polled every few milliseconds for the commits of other processes.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::store::EventStoreError;
use crate::{
    Position,
    sqlite::{error::of_read, read::thread::head, schema, spawn},
};

/// The time between checks of the file while there are waiters.
const INTERVAL: Duration = Duration::from_millis(5);

/// The watch thread and its waiters. Dropping this ends the thread.
pub(crate) struct Watch(Arc<Inner>);

/// Notifies the waiters of commits made in this process.
pub(crate) struct Publisher(Arc<Inner>);

struct Inner {
    seen: watch::Sender<Seen>,
    demand: Mutex<Demand>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    head: Position,
    /// The number of failed checks. They wake the waiters, whose own reads then return the error.
    failures: u64,
    closed: bool,
}

#[derive(Default)]
struct Demand {
    waiters: usize,
    closing: bool,
}

/// A registered waiter; deregistered on drop.
struct Waiter<'a>(&'a Inner);

impl Watch {
    pub(crate) fn start(path: PathBuf) -> Result<Self, EventStoreError> {
        let watch = Self(Arc::new(Inner {
            seen: watch::Sender::default(),
            demand: Mutex::default(),
            changed: Condvar::new(),
        }));
        let inner = watch.0.clone();
        spawn("eventcore-watch", move || {
            inner.run(&path);
            inner.seen.send_modify(|seen| seen.closed = true);
        })?;
        Ok(watch)
    }

    pub(crate) fn publisher(&self) -> Publisher {
        Publisher(self.0.clone())
    }

    pub(crate) async fn wait(&self, after: Position) -> Result<(), EventStoreError> {
        let _waiter = Waiter::new(&self.0);
        let mut seen = self.0.seen.subscribe();
        let failures = seen.borrow().failures;
        let woken = |seen: &Seen| seen.closed || seen.head > after || seen.failures != failures;
        match seen.wait_for(woken).await {
            Ok(seen) if !seen.closed => Ok(()),
            _ => Err(EventStoreError::Closed),
        }
    }

    /// Signals the watch thread to stop and close its connection.
    pub(crate) fn close(&self) {
        self.0.demand().closing = true;
        self.0.changed.notify_all();
    }

    pub(crate) async fn closed(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.seen.subscribe().wait_for(|seen| seen.closed).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.close();
    }
}

impl Publisher {
    /// Notifies the waiters that there are events up to this position.
    pub(crate) fn publish(&self, head: Position) {
        self.0.publish(head);
    }
}

impl Inner {
    fn demand(&self) -> MutexGuard<'_, Demand> {
        self.demand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, head: Position) {
        self.seen.send_if_modified(|seen| {
            let is_newer = head > seen.head;
            seen.head = seen.head.max(head);
            is_newer
        });
    }

    fn run(&self, path: &Path) {
        // The connection is opened for the first waiter: a process that only runs commands does not
        // need it.
        let mut file: Option<File> = None;
        loop {
            let demand = self.demand();
            let idle = |demand: &mut Demand| demand.waiters == 0 && !demand.closing;
            let demand = self
                .changed
                .wait_while(demand, idle)
                .unwrap_or_else(PoisonError::into_inner);
            if demand.closing {
                return;
            }
            drop(demand);
            let looked = match &mut file {
                Some(file) => file.look(),
                None => File::open(path).and_then(|opened| file.insert(opened).look()),
            };
            match looked {
                Ok(Some(head)) => self.publish(head),
                Ok(None) => {}
                Err(_) => self.seen.send_modify(|seen| seen.failures += 1),
            }
            let demand = self.demand();
            let open = |demand: &mut Demand| !demand.closing;
            drop(self.changed.wait_timeout_while(demand, INTERVAL, open));
        }
    }
}

impl<'a> Waiter<'a> {
    fn new(inner: &'a Inner) -> Self {
        inner.demand().waiters += 1;
        inner.changed.notify_all();
        Self(inner)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.demand().waiters -= 1;
    }
}

/// Detects commits made by other connections.
struct File {
    connection: Connection,
    data_version: Option<i64>,
}

impl File {
    fn open(path: &Path) -> Result<Self, EventStoreError> {
        Ok(Self {
            connection: schema::open_reader(path, schema::BUSY)?,
            data_version: None,
        })
    }

    /// Returns the latest position if anything was committed since the last check.
    fn look(&mut self) -> Result<Option<Position>, EventStoreError> {
        let seen: i64 = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(of_read)?;
        if self.data_version == Some(seen) {
            return Ok(None);
        }
        let head = head(&self.connection).map_err(of_read)?;
        self.data_version = Some(seen);
        Ok(Some(head))
    }
}
