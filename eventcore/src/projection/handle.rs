//! A running projection, seen from outside: [`ProjectionHandle`], and [`wait_for`] from another process.

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

    /// Waits until the read model includes all events up to a position, whichever process applies them.
    ///
    /// # Errors
    /// - [`WaitError::Failed`] as soon as this runner has ended with an error, unless the position was reached before.
    /// - [`WaitError::Timeout`] after `timeout`.
    /// - [`WaitError::Store`] if the database cannot be asked.
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

    /// Returns the status.
    ///
    /// # Errors
    /// What keeps the store or the database from being asked.
    pub async fn status(&self) -> Result<ProjectionStatus, EventStoreError> {
        let mut status = status(&self.store, &self.database, self.report.name()).await?;
        self.report.complete(&mut status);
        Ok(status)
    }

    /// Returns `true` if it has ended; [`stop`](Self::stop) returns the reason.
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
/// [`WaitError::Timeout`] after `timeout`, [`WaitError::Store`] if the database cannot be asked. A projection that has failed
/// in another process may be started again at any time, so its failure does not end the wait; a timeout names it.
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

/// The error of a wait for a read model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The position was not reached in time.
    #[error(
        "projection `{projection}` is at position {reached}, not yet at {position}, after {waited:.1?}; {}",
        state(leader.as_deref(), last_error.as_ref())
    )]
    Timeout {
        /// The projection.
        projection: String,
        /// The position that was waited for.
        position: Position,
        /// The projection's position at the end of the wait.
        reached: Position,
        /// The duration of the wait.
        waited: Duration,
        /// The process that leads the projection; `None` if there is none.
        leader: Option<String>,
        /// The latest error of the projection, unless it has committed a batch since.
        last_error: Option<LastError>,
    },
    /// The runner in this process has ended with an error, and the position was not reached.
    #[error(
        "projection `{projection}` failed at position {reached} and will not reach {position} until it is started again: {}",
        error.message
    )]
    Failed {
        /// The projection.
        projection: String,
        /// The position that was waited for.
        position: Position,
        /// The projection's position.
        reached: Position,
        /// The error that the runner ended with.
        error: LastError,
    },
    /// The database cannot be asked.
    #[error(transparent)]
    Store(#[from] EventStoreError),
}

/// Describes what is known of a projection that does not arrive.
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
