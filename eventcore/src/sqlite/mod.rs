//! The embedded store: one SQLite file, durable, shared by any number of tasks and processes.
//!
//! One writer thread makes group commits. A few reader threads answer queued reads, each batch in
//! one snapshot; under low load, short reads run on the caller's thread. A watch thread detects the
//! commits of other processes. This file opens the database and dispatches requests; it contains no
//! SQL.

mod convert;
mod error;
mod library;
mod read;
mod read_model;
mod schema;
mod write;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::sync::{mpsc, oneshot};

use crate::{
    Position,
    store::{
        AppendRequest, CommitReceipt, EventStore, EventStoreError, FeedPage, NewSnapshot,
        ReadFeedRequest, ReadStreamsRequest, StateCache, StoreFuture, StreamPage, StreamQueues,
        encode_apart,
    },
};

pub use read_model::database::SqliteReadModel;
pub use read_model::transaction::SqliteTransaction;
/// The SQLite library, whose types are part of this API.
pub use rusqlite;

/// The number of requests that a thread's queue holds before callers have to wait.
const QUEUE: usize = 4096;
const READERS: usize = 2;

/// The channel for the response to a request. If the caller was dropped, the receiver is closed.
type Reply<T> = oneshot::Sender<Result<T, EventStoreError>>;

/// Stores events in an SQLite file. A clone is another handle to the same threads, which end with
/// the last handle.
///
/// The file is in WAL mode with `synchronous=FULL`: an acknowledged commit survives a crash and
/// power loss. Several processes may open the same file. After a failed disk write, the store stops
/// writing ([`EventStoreError::StorageFailed`]) but continues to serve reads.
///
/// Restore a backup only while no process has the file open. A store caches the row ids of streams
/// and event types. In a restored file these ids may be missing or belong to other names, and
/// events appended with them cannot be read back.
///
/// ```no_run
/// # async fn f() -> Result<(), eventcore::EventStoreError> {
/// let store = eventcore::sqlite::SqliteEventStore::open("bank.db").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct SqliteEventStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    // Dropped before the queues, so that it is never the last connection, which checkpoints the
    // log.
    direct: read::inline::Direct,
    writer: mpsc::Sender<write::thread::Message>,
    readers: Vec<mpsc::Sender<read::thread::Job>>,
    ids: read::interner::StreamIds,
    next_reader: AtomicUsize,
    queues: StreamQueues,
    states: StateCache,
    watch: read::notify::Watch,
    read_models: read_model::target::Targets,
}

impl SqliteEventStore {
    /// Opens a database file, creating it if it does not exist.
    ///
    /// # Errors
    /// [`EventStoreError::NotAnEventStore`] for a file with other contents,
    /// [`EventStoreError::NewerSchema`] for a file of a later release,
    /// [`EventStoreError::ReadOnly`], [`EventStoreError::StorageFull`]. The file is left unchanged.
    /// Also an error if the program is linked with an SQLite older than 3.51.3, which can lose
    /// commits.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, EventStoreError> {
        Self::open_on(rusqlite::version_number(), path.as_ref()).await
    }

    /// Opens a database file on the given version of SQLite.
    async fn open_on(sqlite: i32, path: &Path) -> Result<Self, EventStoreError> {
        library::check(sqlite)?;
        let other = |source| EventStoreError::Other { source };
        if path == Path::new(":memory:") {
            let reason =
                "an in-memory database cannot be shared between threads; use `MemoryEventStore`";
            return Err(other(reason.into()));
        }
        // Absolute, so that SQLite takes it for a path and not for a `file:` URI, and every
        // connection opens the same file.
        let path = std::path::absolute(path).map_err(|error| other(error.into()))?;
        let (reply, opened) = oneshot::channel();
        spawn("eventcore-open", move || {
            let _ = reply.send(Self::start(path, write::poison::Disk::default()));
        })?;
        opened.await.map_err(|_| EventStoreError::Closed)?
    }

    fn start(path: PathBuf, disk: write::poison::Disk) -> Result<Self, EventStoreError> {
        let connection = schema::open(&path)?;
        let watch = read::notify::Watch::start(path.clone())?;
        // Two spellings of one path must not lead to two read models.
        let real = path
            .canonicalize()
            .map_err(|error| EventStoreError::Other {
                source: error.into(),
            })?;
        let ids = read::interner::StreamIds::default();
        let writer =
            write::thread::Writer::new(connection, &path, watch.publisher(), disk, ids.clone())?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        spawn("eventcore-writer", move || writer.run(queue))?;
        let mut readers = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            let reader = schema::open_reader(&path, schema::BUSY)?;
            let reader =
                read::thread::Reader::new(reader, read::thread::PageLimits::default(), ids.clone());
            let (jobs, queue) = mpsc::channel(QUEUE);
            spawn("eventcore-reader", move || reader.run(queue))?;
            readers.push(jobs);
        }
        let shared = Shared {
            direct: read::inline::Direct::open(&path, ids.clone())?,
            path,
            writer: jobs,
            readers,
            ids,
            next_reader: AtomicUsize::new(0),
            queues: StreamQueues::new(),
            states: StateCache::new(),
            watch,
            read_models: read_model::target::Targets::new(real),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Finishes the queued requests, ends the threads of all handles, and closes the file. Later
    /// calls return [`EventStoreError::Closed`]. Dropping the last handle does the same, but does
    /// not wait for it.
    pub async fn close(&self) {
        self.shared.watch.close();
        self.shared.watch.closed().await;
        let shared = self.shared.clone();
        let _ = read_model::target::blocking(move || shared.read_models.close()).await;
        // The writer closes last: the last connection checkpoints the log.
        self.shared.direct.close();
        for reader in &self.shared.readers {
            let (closed, end) = oneshot::channel();
            if reader.send(read::thread::Job::Close(closed)).await.is_ok() {
                // The sender is never used, only dropped.
                let _ = end.await;
            }
        }
        let (closed, end) = oneshot::channel();
        let close = write::thread::Message::Close(closed);
        if self.shared.writer.send(close).await.is_ok() {
            let _ = end.await;
        }
    }

    /// Returns the path of the database file that holds the read model of the projection with this
    /// name. The file exists once the projection has run.
    ///
    /// It is an ordinary SQLite database: open it for reading, or attach it to another connection,
    /// with `ATTACH 'file:/data/bank.db.balances.db?mode=ro' AS balances`. Its tables whose names
    /// begin with `eventcore_` belong to the library. A rebuild replaces the whole contents of the
    /// file; readers see the new contents in their next statement. Do not delete the file while a
    /// process has the store open: use
    /// [`start_rebuild`](crate::projection::ProjectionRunner::start_rebuild) to start from the
    /// first event.
    pub fn read_model(&self, name: &str) -> PathBuf {
        self.shared.read_models.live_path(name)
    }

    /// Returns the version of SQLite in use, such as `3.54.1`.
    pub fn sqlite_version() -> &'static str {
        rusqlite::version()
    }

    async fn read<T>(
        &self,
        job: impl FnOnce(Reply<T>) -> read::thread::Job,
    ) -> Result<T, EventStoreError> {
        let (reply, answer) = oneshot::channel();
        let number = self.shared.next_reader.fetch_add(1, Ordering::Relaxed) % READERS;
        let reader = self
            .shared
            .readers
            .get(number)
            .ok_or(EventStoreError::Closed)?;
        reader
            .send(job(reply))
            .await
            .map_err(|_| EventStoreError::Closed)?;
        answer.await.map_err(|_| EventStoreError::Closed)?
    }
}

impl EventStore for SqliteEventStore {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            let call = self.shared.direct.call();
            match call.read(&request) {
                Some(page) => Ok(page),
                None => {
                    self.read(|reply| read::thread::Job::Streams { request, reply })
                        .await
                }
            }
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            let call = self.shared.direct.call();
            let (reply, mut answer) = oneshot::channel();
            let job = write::thread::Job::new(request, &self.shared.ids, reply);
            self.shared
                .writer
                .send(write::thread::Message::Append(job))
                .await
                .map_err(|_| EventStoreError::Closed)?;
            if let Some(appended) = call.stay_awake(&mut answer).await {
                return appended;
            }
            // The writer replies to every job; if it has stopped anyway, the outcome is unknown.
            answer
                .await
                .map_err(|gone| EventStoreError::OutcomeUnknown {
                    source: gone.into(),
                })?
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(self.read(|reply| read::thread::Job::Feed { request, reply }))
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        Box::pin(self.shared.watch.wait(after))
    }

    fn queues(&self) -> Option<&StreamQueues> {
        Some(&self.shared.queues)
    }

    fn states(&self) -> Option<&StateCache> {
        Some(&self.shared.states)
    }

    fn keep_snapshots(&self, snapshots: Vec<NewSnapshot>) {
        let writer = self.shared.writer.clone();
        encode_apart(snapshots, move |encoded| {
            // While the queue is full there are better things to do.
            let _ = writer.try_send(write::thread::Message::KeepSnapshots(encoded));
        });
    }

    fn clear_snapshots(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (reply, cleared) = oneshot::channel();
            let message = write::thread::Message::ClearSnapshots(reply);
            let sent = self.shared.writer.send(message).await;
            sent.map_err(|_| EventStoreError::Closed)?;
            cleared.await.map_err(|_| EventStoreError::Closed)?
        })
    }
}

impl fmt::Debug for SqliteEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteEventStore")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), EventStoreError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(drop).map_err(|source| EventStoreError::Other {
        source: source.into(),
    })
}
