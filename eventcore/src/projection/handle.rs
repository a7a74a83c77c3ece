//! A running projection, seen from outside: [`ProjectionHandle`], and [`wait_for`] from another process.

use std::{
    fmt,
    future::Future,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinHandle, time};

use super::{
    ProjectionDatabase, ProjectionError, ProjectionStatus, ReadModel, status, status::Report,
};
use crate::{EventStore, EventStoreError, Position};

/// A projection that runs in this process. Dropping it stops the projection.
#[must_use = "the projection stops when its handle is dropped"]
pub struct ProjectionHandle<S, D> {
    store: S,
    database: D,
    report: Report,
    /// Dropped to stop.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ProjectionError>>,
}

impl<S: EventStore, D: ProjectionDatabase> ProjectionHandle<S, D> {
    pub(super) fn new(
        store: S,
        database: D,
        report: Report,
        stop: oneshot::Sender<()>,
        task: JoinHandle<Result<(), ProjectionError>>,
    ) -> Self {
        Self {
            store,
            database,
            report,
            stop: Some(stop),
            task,
        }
    }

    /// Waits until the read model shows everything up to a position, whichever process applies it.
    ///
    /// # Errors
    /// [`WaitError::Timeout`] when it takes too long, [`WaitError::Store`] when the database cannot be asked.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        let mut here = self.report.position();
        let applied = async move {
            if here.wait_for(|applied| *applied >= position).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let elsewhere = wait_for(&self.database, self.report.name(), position, timeout);
        let (mut applied, mut elsewhere) = (std::pin::pin!(applied), std::pin::pin!(elsewhere));
        std::future::poll_fn(|context| {
            if applied.as_mut().poll(context).is_ready() {
                return std::task::Poll::Ready(Ok(()));
            }
            elsewhere.as_mut().poll(context)
        })
        .await
    }

    /// How it is doing.
    ///
    /// # Errors
    /// What keeps the store or the database from being asked.
    pub async fn status(&self) -> Result<ProjectionStatus, EventStoreError> {
        let mut status = status(&self.store, &self.database, self.report.name()).await?;
        self.report.complete(&mut status);
        Ok(status)
    }

    /// Whether it has ended; [`stop`](Self::stop) says why.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Finishes the batch at hand, gives the lease up, and says how it ended.
    ///
    /// # Errors
    /// [`ProjectionError`] when it had ended by itself.
    pub async fn stop(mut self) -> Result<(), ProjectionError> {
        self.stop = None;
        self.join().await
    }

    /// Waits until it ends by itself, with an error that its policy does not let pass, or because the store is closed.
    ///
    /// # Errors
    /// [`ProjectionError`] says why it ended.
    pub async fn join(&mut self) -> Result<(), ProjectionError> {
        let projection = self.report.name();
        match (&mut self.task).await {
            Ok(end) => end,
            Err(_) => Err(ProjectionError::Panicked { projection }),
        }
    }
}

impl<S, D> fmt::Debug for ProjectionHandle<S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectionHandle")
            .field("projection", &self.report.name())
            .finish_non_exhaustive()
    }
}

/// Waits until the read model of a projection shows everything up to a position, whatever process applies it.
///
/// With the position of a command's answer, one reads one's own writes:
///
/// ```no_run
/// # #[cfg(feature = "sqlite")] async fn f(store: eventcore::sqlite::SqliteEventStore, done: eventcore::ExecutionResponse) -> Result<(), Box<dyn std::error::Error>> {
/// eventcore::projection::wait_for(&store, "balances", done.position(), std::time::Duration::from_secs(2)).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// [`WaitError::Timeout`] when it takes too long, [`WaitError::Store`] when the database cannot be asked.
pub async fn wait_for<D: ProjectionDatabase>(
    database: &D,
    name: &str,
    position: Position,
    timeout: Duration,
) -> Result<(), WaitError> {
    let read_model = database.live(name);
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        let record = read_model.record().await?;
        let reached = record.map_or(Position::START, |record| record.position);
        if reached >= position {
            return Ok(());
        }
        let left = timeout.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(WaitError::Timeout {
                projection: name.to_owned(),
                position,
                reached,
                waited: started.elapsed(),
            });
        }
        time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// Why a read model does not show yet what was waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It took too long.
    #[error(
        "projection `{projection}` has come to position {reached} and not to {position} within {waited:.1?}; see its status \
         for whether one of this name runs, and for its last error"
    )]
    Timeout {
        /// The projection.
        projection: String,
        /// What was waited for.
        position: Position,
        /// How far it has come.
        reached: Position,
        /// How long was waited.
        waited: Duration,
    },
    /// The database cannot be asked.
    #[error(transparent)]
    Store(#[from] EventStoreError),
}
