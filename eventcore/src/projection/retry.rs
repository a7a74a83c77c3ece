//! Retries database work while it fails with transient errors.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use super::{
    LeaseError, Projection, ProjectionError, ReadModel,
    database::LastError,
    leader::{Exit, Run},
    status::ProjectionState,
};
use crate::{EventStore, EventStoreError, chain::chain};

/// The first and the longest pause after a failure of the database or store.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// Pauses that grow up to a bound.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) const fn new() -> Self {
        Self(PAUSES.0)
    }

    fn next(&mut self) -> Duration {
        let next = self.0;
        self.0 = (next * 2).min(PAUSES.1);
        next.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

impl<S, D, P, F> Run<'_, S, D, P, F>
where
    S: EventStore + Clone + 'static,
    D: ReadModel,
    P: Projection<D::Transaction>,
    F: Future<Output = ()>,
{
    /// Returns the result of work that needs the lease, or `None` after a pause if the work should
    /// be retried.
    pub(super) async fn settle<T>(
        &mut self,
        pauses: &mut Pauses,
        result: Result<T, LeaseError>,
    ) -> Result<Option<T>, Exit> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(LeaseError::Lost) => Err(Exit::Lost),
            Err(LeaseError::Forbidden(forbidden)) => {
                let projection = P::NAME;
                Err(ProjectionError::Forbidden {
                    projection,
                    forbidden,
                }
                .into())
            }
            Err(LeaseError::Database(error) | LeaseError::Refused(error)) => {
                self.pause(pauses, error).await.map(|()| None)
            }
        }
    }

    /// Pauses after a transient failure, longer each time. Permanent failures end the run.
    pub(super) async fn pause(
        &mut self,
        pauses: &mut Pauses,
        error: EventStoreError,
    ) -> Result<(), Exit> {
        if matches!(error, EventStoreError::Closed) {
            return Err(Exit::Stop);
        }
        if !error.is_transient()
            && !matches!(
                error,
                EventStoreError::OutcomeUnknown { .. } | EventStoreError::StorageFull { .. }
            )
        {
            return Err(Exit::Failed(error.into()));
        }
        let message = chain(&error);
        tracing::warn!(
            projection = P::NAME,
            error = message,
            "the projection is waiting for its database"
        );
        self.report.error(LastError {
            message,
            position: None,
            at: SystemTime::now(),
        });
        self.report.state(ProjectionState::Waiting);
        self.sleep(pauses.next()).await
    }

    pub(super) async fn sleep(&mut self, time: Duration) -> Result<(), Exit> {
        let slept = self.shutdown.or(tokio::time::sleep(time)).await;
        slept.ok_or(Exit::Stop)
    }
}
