//! The handle of a running projection, [`ProjectionHandle`], and [`wait_for`], which also works
//! from other processes.

use std::{
    fmt,
    future::{Future, pending, poll_fn},
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, task::JoinHandle, time};

use super::{
    LastError, ProjectionDatabase, ProjectionError, ProjectionStatus, ReadModel, status,
    status::Report,
};
use crate::{EventStore, EventStoreError, Position};

/// A handle to a projection that runs in this process. Dropping it stops the projection.
#[must_use = "the projection stops when its handle is dropped"]
pub struct ProjectionHandle<S, D> {
    store: S,
    database: D,
    report: Report,
    /// The stop signal, sent by dropping it.
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

    /// Waits until the read model includes all events up to a position, regardless of which process
    /// applies them.
    ///
    /// # Errors
    /// - [`WaitError::Failed`] as soon as this runner ends with an error before the position is
    ///   reached.
    /// - [`WaitError::Timeout`] after `timeout`.
    /// - [`WaitError::Store`] if the database cannot be read.
    pub async fn wait_for(&self, position: Position, timeout: Duration) -> Result<(), WaitError> {
        let (mut here, mut failure) = (self.report.position(), self.report.failure());
        let applied = async move {
            if here.wait_for(|applied| *applied >= position).await.is_err() {
                pending::<()>().await;
            }
        };
        let failed = async move {
            let failure = failure.wait_for(Option::is_some).await;
            failure.ok().and_then(|failure| failure.clone())
        };
        let elsewhere = wait_for(&self.database, self.report.name(), position, timeout);
        let (mut applied, mut failed) = (pin!(applied), pin!(failed));
        let mut elsewhere = pin!(elsewhere);
        let waited = poll_fn(|context| {
            if applied.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(Ok(())));
            }
            if let Poll::Ready(Some(error)) = failed.as_mut().poll(context) {
                return Poll::Ready(Err(error));
            }
            elsewhere.as_mut().poll(context).map(Ok)
        })
        .await;
        let error = match waited {
            Ok(waited) => return waited,
            Err(error) => error,
        };
        let projection = self.report.name();
        let record = self.database.live(projection).record().await?;
        let reached = record.map_or(Position::START, |record| record.position);
        if reached >= position {
            return Ok(());
        }
        Err(WaitError::Failed {
            projection: projection.to_owned(),
            position,
            reached,
            error,
        })
    }

    /// Returns the status of the projection.
    ///
    /// # Errors
    /// Returns [`EventStoreError`] if the store or the database cannot be read.
    pub async fn status(&self) -> Result<ProjectionStatus, EventStoreError> {
        let mut status = status(&self.store, &self.database, self.report.name()).await?;
        self.report.complete(&mut status);
        Ok(status)
    }

    /// Returns `true` if the projection has ended; [`stop`](Self::stop) returns the reason.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Stops the projection after the current batch and releases the lease.
    ///
    /// # Errors
    /// Returns [`ProjectionError`] if the projection ended with an error.
    pub async fn stop(mut self) -> Result<(), ProjectionError> {
        self.stop = None;
        self.join().await
    }

    /// Waits until the projection ends on its own: with an error that stops it, or because the
    /// store is closed.
    ///
    /// # Errors
    /// Returns [`ProjectionError`] if the projection ended with an error.
    pub async fn join(&mut self) -> Result<(), ProjectionError> {
        let projection = self.report.name();
        match (&mut self.task).await {
            Ok(end) => end,
            Err(error) => Err(ProjectionError::Panicked {
                projection,
                message: error.to_string(),
            }),
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

/// Waits until the read model of a projection includes all events up to a position, regardless of
/// which process applies them.
///
/// With the position from a command's response, this gives read-your-writes consistency:
///
/// ```no_run
/// # #[cfg(feature = "sqlite")] async fn f(store: eventcore::sqlite::SqliteEventStore, done: eventcore::ExecutionResponse) -> Result<(), Box<dyn std::error::Error>> {
/// eventcore::projection::wait_for(&store, "balances", done.position(), std::time::Duration::from_secs(2)).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// Returns [`WaitError::Timeout`] after `timeout`, and [`WaitError::Store`] if the database cannot
/// be read. A projection that has failed in another process may be restarted at any time, so its
/// failure does not end the wait; a timeout includes it.
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
        let reached = record
            .as_ref()
            .map_or(Position::START, |record| record.position);
        if reached >= position {
            return Ok(());
        }
        let left = timeout.saturating_sub(started.elapsed());
        if left.is_zero() {
            let (leader, last_error) = record
                .map(|record| (record.leader, record.last_error))
                .unwrap_or_default();
            return Err(WaitError::Timeout {
                projection: name.to_owned(),
                position,
                reached,
                waited: started.elapsed(),
                leader,
                last_error,
            });
        }
        time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// The error returned when waiting for a read model fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The position was not reached in time.
    #[error(
        "projection `{projection}` is at position {reached}, not yet at {position}, after {waited:.1?}; {}",
        state(leader.as_deref(), last_error.as_ref())
    )]
    Timeout {
        /// The name of the projection.
        projection: String,
        /// The awaited position.
        position: Position,
        /// The projection's position at the end of the wait.
        reached: Position,
        /// The duration of the wait.
        waited: Duration,
        /// The process that leads the projection, or `None` if there is none.
        leader: Option<String>,
        /// The last error of the projection, unless a batch has been committed since.
        last_error: Option<LastError>,
    },
    /// The runner in this process ended with an error before the position was reached.
    #[error(
        "projection `{projection}` failed at position {reached} and will not reach {position} until it is started again: {}",
        error.message
    )]
    Failed {
        /// The name of the projection.
        projection: String,
        /// The awaited position.
        position: Position,
        /// The projection's position.
        reached: Position,
        /// The error that ended the runner.
        error: LastError,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] EventStoreError),
}

/// Describes the state of a projection that did not reach the awaited position.
fn state(leader: Option<&str>, last_error: Option<&LastError>) -> String {
    let leader = leader.map_or_else(
        || "no process leads it; start a runner for it".to_owned(),
        |leader| format!("process `{leader}` leads it"),
    );
    match last_error {
        Some(error) => format!("{leader}; its last error: {}", error.message),
        None => leader,
    }
}
