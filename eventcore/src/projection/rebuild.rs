//! Rebuilds a read model beside the live one, then swaps the two.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    Leadership, Lease, LeaseError, Projection, ProjectionDatabase, ProjectionError,
    ProjectionRunner, ReadModel, pages::head, shutdown::Shutdown, status::Report,
};
use crate::{EventStore, EventStoreError, Position, chain::chain};

/// The first pause between attempts to swap.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause between attempts to swap.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl<S, D, P> ProjectionRunner<S, D, P>
where
    S: EventStore + Clone + 'static,
    D: ProjectionDatabase,
    P: Projection<D::Transaction>,
{
    /// Rebuilds the read model from the first event while the live one stays in use. Once the new
    /// read model has caught up, it atomically replaces the live one, including its checkpoint and
    /// dead letters. The leader of the live projection continues from there.
    ///
    /// Run the rebuild with the code of the new read model, and start the live projections with
    /// that code afterwards. If only the rows change, and not the tables, the live projections can
    /// keep running.
    ///
    /// # Panics
    /// Panics if called outside of a tokio runtime.
    pub fn start_rebuild(self) -> RebuildHandle<S> {
        self.spawn_rebuild(true)
    }

    /// Resumes a rebuild that was interrupted by a stop or a crash, or starts one if there is none.
    /// The code of the read model must not have changed since the interruption.
    ///
    /// # Panics
    /// Panics if called outside of a tokio runtime.
    pub fn resume_rebuild(self) -> RebuildHandle<S> {
        self.spawn_rebuild(false)
    }

    fn spawn_rebuild(self, afresh: bool) -> RebuildHandle<S> {
        let report = Report::of_rebuild(P::NAME);
        let (store, told) = (self.setup.store.clone(), report.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let end = self
                .rebuild(afresh, &told, async { drop(stopped.await) })
                .await;
            told.ended(end.as_ref().err());
            end
        });
        RebuildHandle {
            store,
            report,
            stop: Some(stop),
            task,
        }
    }

    async fn rebuild(
        self,
        afresh: bool,
        report: &Report,
        shutdown: impl Future<Output = ()>,
    ) -> Result<RebuildOutcome, ProjectionError> {
        let live = self.setup.database.live(P::NAME);
        let rebuilt = self.setup.database.rebuild(P::NAME, afresh).await?;
        let mut shutdown = std::pin::pin!(shutdown);
        // The lease of the live read model, once it is seized to keep that from advancing.
        let mut seized = None;
        let end = self
            .build(&live, &rebuilt, report, shutdown.as_mut(), &mut seized)
            .await;
        if let (Some(lease), Ok(RebuildOutcome::Interrupted) | Err(_)) = (&seized, &end) {
            // If this fails, the lease expires on its own.
            let _ = live.resign(lease).await;
        }
        end
    }

    async fn build(
        &self,
        live: &D::ReadModel,
        rebuilt: &D::ReadModel,
        report: &Report,
        mut shutdown: Pin<&mut impl Future<Output = ()>>,
        seized: &mut Option<Lease>,
    ) -> Result<RebuildOutcome, ProjectionError> {
        let mut pause = FIRST_PAUSE;
        // A live read model beyond this position contains events that the store has lost.
        let mut end = Position::new(u64::MAX);
        loop {
            let filled = self.run_to_end(rebuilt.clone(), report.clone(), shutdown.as_mut());
            let Some(lease) = filled.await? else {
                return Ok(RebuildOutcome::Interrupted);
            };
            let swapped = live.swap(rebuilt, &lease, end).await;
            if !matches!(swapped, Ok(true) | Err(LeaseError::Lost)) {
                // If this fails, the lease expires on its own.
                let _ = rebuilt.resign(&lease).await;
            }
            match swapped {
                Ok(true) => {
                    let position = *report.position().borrow();
                    tracing::info!(projection = P::NAME, %position, "the rebuilt read model has replaced the live one");
                    return Ok(RebuildOutcome::Swapped);
                }
                // The live read model has advanced in the meantime. Its leader stands by until the
                // new one has caught up.
                Ok(false) => {
                    let taken = live.seize(&self.setup.instance, self.setup.term).await?;
                    if let Leadership::Taken(lease) = taken {
                        // The live read model no longer advances, so it can be compared with the
                        // current head.
                        let head = head(&self.setup.store).await?;
                        if lease.position > head {
                            end = head;
                        }
                        *seized = Some(lease);
                    }
                }
                Err(LeaseError::Lost) => {}
                Err(LeaseError::Database(error)) if error.is_transient() => {
                    tracing::warn!(
                        projection = P::NAME,
                        error = chain(&error),
                        "the read model could not be swapped; the swap is retried"
                    );
                    // The pauses grow, because readers are blocked while a swap waits for a lock.
                    let mut stopping = Shutdown::new(shutdown.as_mut());
                    let slept = stopping.or(tokio::time::sleep(pause)).await;
                    if slept.is_none() {
                        return Ok(RebuildOutcome::Interrupted);
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(LeaseError::Forbidden(forbidden)) => {
                    return Err(ProjectionError::Forbidden {
                        projection: P::NAME,
                        forbidden,
                    });
                }
                Err(LeaseError::Database(error) | LeaseError::Refused(error)) => {
                    return Err(error.into());
                }
            }
        }
    }
}

/// The outcome of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an interrupted rebuild has changed nothing"]
pub enum RebuildOutcome {
    /// The new read model has replaced the live one.
    Swapped,
    /// The rebuild was stopped before the swap, and can be resumed.
    Interrupted,
}

/// The progress of a rebuild.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RebuildProgress {
    /// The number of positions processed.
    pub done: u64,
    /// The number of positions in the store.
    pub total: u64,
    /// The number of events applied per second.
    pub events_per_second: f64,
    /// The estimated time left at the rate so far, or `None` if there is no rate yet.
    pub remaining: Option<Duration>,
}

/// A handle to a rebuild that runs in this process. Dropping it interrupts the rebuild.
#[must_use = "the rebuild is interrupted when its handle is dropped"]
pub struct RebuildHandle<S> {
    store: S,
    report: Report,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<RebuildOutcome, ProjectionError>>,
}

impl<S: EventStore> RebuildHandle<S> {
    /// Returns the progress of the rebuild.
    ///
    /// # Errors
    /// Returns [`EventStoreError`] if the store cannot be read.
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub async fn progress(&self) -> Result<RebuildProgress, EventStoreError> {
        let total = head(&self.store).await?;
        let done = (*self.report.position().borrow()).min(total);
        let (began, elapsed) = self.report.began();
        let passed = done.get().saturating_sub(began.get());
        let left = total.get() - done.get();
        let remaining = (passed > 0).then(|| elapsed.mul_f64(left as f64 / passed as f64));
        Ok(RebuildProgress {
            done: done.get(),
            total: total.get(),
            events_per_second: self.report.rate(),
            remaining,
        })
    }

    /// Returns `true` if the rebuild has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Interrupts the rebuild after the current batch, unless it is already complete.
    ///
    /// # Errors
    /// Returns [`ProjectionError`] if the rebuild failed.
    pub async fn stop(mut self) -> Result<RebuildOutcome, ProjectionError> {
        self.stop = None;
        self.join().await
    }

    /// Waits until the rebuild ends.
    ///
    /// # Errors
    /// Returns [`ProjectionError`] if the error policy stops the rebuild at an event, or if the
    /// store or the database fails permanently. The live read model is unchanged.
    pub async fn join(&mut self) -> Result<RebuildOutcome, ProjectionError> {
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

impl<S> fmt::Debug for RebuildHandle<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RebuildHandle")
            .field("projection", &self.report.name())
            .finish_non_exhaustive()
    }
}
