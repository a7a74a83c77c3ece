//! The store for several machines: one PostgreSQL database, shared by any number of tasks and
//! processes.
//!
//! One task makes group commits; concurrent reads are combined, each batch in one snapshot. This
//! file dispatches requests; it contains no SQL.

mod config;
mod connection;
mod convert;
mod error;
mod read;
mod read_model;
mod schema;
mod url;
mod write;

use std::{fmt, sync::Arc};

use tokio::sync::{mpsc, oneshot};

pub use config::PostgresConfig;
pub use connection::tls::TlsMode;
pub use read_model::database::PostgresReadModel;
pub use read_model::transaction::PostgresTransaction;
/// The driver, whose types are part of this API.
pub use tokio_postgres;

use crate::{
    Position,
    store::{
        AppendRequest, CommitReceipt, EventStore, EventStoreError, FeedPage, NewSnapshot,
        ReadFeedRequest, ReadStreamsRequest, StateCache, StoreFuture, StreamPage, StreamQueues,
        encode_apart,
    },
};

/// The number of requests that a queue holds before callers have to wait.
const QUEUE: usize = 4096;

/// The channel for the response to a request. If the caller was dropped, the receiver is closed.
type Reply<T> = oneshot::Sender<Result<T, EventStoreError>>;

/// Stores events in a PostgreSQL database. A clone is another handle to the same connections, which
/// close with the last handle.
///
/// Any number of processes may use the same database, each through its own store. An acknowledged
/// commit is as durable as the server makes it; with synchronous replication it survives the loss
/// of a server.
///
/// ```no_run
/// # async fn f() -> Result<(), eventcore::EventStoreError> {
/// let store = eventcore::postgres::PostgresEventStore::connect("postgres://bank:secret@localhost/bank").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PostgresEventStore {
    shared: Arc<Shared>,
}

struct Shared {
    pool: connection::pool::Pool,
    writer: mpsc::Sender<write::task::Message>,
    reader: read::streams::Reader,
    queues: StreamQueues,
    states: StateCache,
    snapshots: write::snapshot::Snapshots,
    feed: Arc<read::feed::Feed>,
    /// The schema of the store.
    schema: Box<str>,
}

impl PostgresEventStore {
    /// Connects with the defaults of [`PostgresConfig`], and creates or migrates the tables.
    ///
    /// # Errors
    /// Those of [`PostgresConfig::new`] and [`PostgresConfig::connect`].
    pub async fn connect(url: &str) -> Result<Self, EventStoreError> {
        PostgresConfig::new(url)?.connect().await
    }

    async fn start(config: &PostgresConfig) -> Result<Self, EventStoreError> {
        let pool = connection::pool::Pool::new(config)?;
        if config.migrate {
            schema::migrate(&pool, &config.schema).await?;
        } else {
            schema::check(&pool, &config.schema).await?;
        }
        let channel = config
            .notifications
            .then(|| read::notify::Channel::new(pool.clone(), &config.schema));
        let listener = read::notify::Listener::new(channel.clone(), config);
        let feed = read::feed::Feed::new(pool.clone(), &config.schema, listener);
        let (writer, queue) = mpsc::channel(QUEUE);
        let announcer = channel.map(read::notify::Announcer::start);
        let writing =
            write::task::Writer::new(pool.clone(), &config.schema, feed.clone(), announcer)
                .run(queue);
        tokio::spawn(writing);
        let reader = read::streams::Reader::new(pool.clone(), &config.schema);
        let shared = Shared {
            pool,
            schema: config.schema.as_str().into(),
            writer,
            reader,
            queues: StreamQueues::new(),
            states: StateCache::new(),
            snapshots: write::snapshot::Snapshots::new(&config.schema),
            feed,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Finishes the queued commits and closes the connections of all handles. Later calls return
    /// [`EventStoreError::Closed`]. Dropping the last handle does the same, but does not wait for
    /// it.
    pub async fn close(&self) {
        let (closed, end) = oneshot::channel();
        if self
            .shared
            .writer
            .send(write::task::Message::Close(closed))
            .await
            .is_ok()
        {
            // The sender is never used, only dropped.
            let _ = end.await;
        }
        self.shared.pool.close();
        self.shared.feed.close();
    }
}

impl EventStore for PostgresEventStore {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(self.shared.reader.page(request))
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let job = write::task::Message::Append(write::batch::Job { request, reply });
            self.shared
                .writer
                .send(job)
                .await
                .map_err(|_| EventStoreError::Closed)?;
            // The writer replies to every job; if it has stopped anyway, the outcome is unknown.
            answer
                .await
                .map_err(|gone| EventStoreError::OutcomeUnknown {
                    source: gone.into(),
                })?
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        Box::pin(read::feed::Feed::fetch(self.shared.feed.clone(), request))
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        Box::pin(self.shared.feed.wait(after))
    }

    fn queues(&self) -> Option<&StreamQueues> {
        Some(&self.shared.queues)
    }

    fn states(&self) -> Option<&StateCache> {
        Some(&self.shared.states)
    }

    fn keep_snapshots(&self, snapshots: Vec<NewSnapshot>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let shared = self.shared.clone();
        encode_apart(snapshots, move |encoded| {
            runtime.spawn(async move {
                if let Err(failure) = shared.snapshots.keep(&shared.pool, &encoded).await {
                    let error = failure.nothing_written();
                    tracing::warn!(%error, "snapshots could not be stored");
                }
            });
        });
    }

    fn clear_snapshots(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let cleared = self.shared.snapshots.clear(&self.shared.pool).await;
            cleared.map_err(|failure| failure.nothing_written())
        })
    }
}

impl fmt::Debug for PostgresEventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresEventStore")
            .field("location", &self.shared.pool.location())
            .finish_non_exhaustive()
    }
}
