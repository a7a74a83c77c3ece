//! Applies a batch of events in one short transaction.

use std::{
    error::Error,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Lease, LeaseError, Progress, Projection, ReadModel, Stage, feed::EventFeed, panic::catch,
};
use crate::{EventStoreError, Position, RecordedEvent};

/// The maximum number of events in a batch.
const MOST: usize = 1024;

/// The size of the next batch, chosen so that batches stay short even if a single event takes long.
#[derive(Debug)]
pub(super) struct BatchSize(usize);

impl BatchSize {
    pub(super) fn new() -> Self {
        Self(16)
    }

    pub(super) fn get(&self) -> usize {
        self.0
    }

    /// Adjusts the size: to `events` if the batch was cut short, otherwise to a larger one.
    pub(super) fn learn(&mut self, events: usize, is_cut_short: bool) {
        self.0 = if is_cut_short {
            events.max(1)
        } else {
            self.0.saturating_mul(4).min(MOST)
        };
    }
}

/// The outcome of one batch.
pub(super) enum Outcome {
    /// The number of events applied and committed, and `true` if the time limit cut the batch
    /// short.
    Done(usize, bool),
    /// The event at this index of the batch could not be applied. The events before it are
    /// committed if the database cannot roll them back; otherwise nothing is.
    Failed(usize, Failure),
    /// One of several events made the commit fail, and it is unknown which. Nothing is committed.
    Unclear,
}

/// A failure to apply an event.
pub(super) struct Failure {
    pub(super) error: Box<dyn Error + Send + Sync>,
    /// `true` if the event caused the failure, `false` if the database did.
    pub(super) is_of_event: bool,
}

impl Failure {
    /// Returns the error of a database that failed while an event was applied.
    pub(super) fn of_database(self) -> EventStoreError {
        EventStoreError::Unavailable { source: self.error }
    }
}

pub(super) struct Batch<P, D> {
    pub(super) projection: Arc<P>,
    pub(super) database: D,
    pub(super) lease: Lease,
    pub(super) term: Duration,
    pub(super) events: Arc<Vec<RecordedEvent>>,
    pub(super) range: Range<usize>,
    /// The checkpoint after the last event of the page.
    pub(super) up_to: Position,
    /// The position of the dead letter that is replayed, if any. A replay does not move the
    /// checkpoint.
    pub(super) replayed: Option<Position>,
}

impl<P, D> Batch<P, D>
where
    D: ReadModel,
    P: Projection<D::Transaction>,
{
    pub(super) async fn run(self) -> Result<Outcome, LeaseError> {
        match self.attempt(false).await {
            // The failed statement may have been queued by an earlier event.
            Ok(Outcome::Failed(_, failure))
                if D::QUEUES && failure.is_of_event && self.range.len() > 1 =>
            {
                self.attempt(true).await
            }
            outcome => outcome,
        }
    }

    /// Applies the events and commits. If `each` is set, flushes the queued statements after each
    /// event.
    async fn attempt(&self, each: bool) -> Result<Outcome, LeaseError> {
        let mut tx = self.database.begin(&self.lease).await?;
        let started = Instant::now();
        let events = self.events.get(self.range.clone()).unwrap_or_default();
        let (mut done, mut is_cut_short) = (0, false);
        for event in events {
            let mut applied = self.apply(event, &mut tx).await;
            if each && applied.is_ok() {
                applied = D::flush(&mut tx).await.map_err(Into::into);
            }
            if let Err(error) = applied {
                if let Some(forbidden) = D::forbidden(&tx) {
                    return Err(LeaseError::Forbidden(forbidden));
                }
                let is_of_event = D::is_usable(&tx);
                if !D::ROLLS_BACK && done > 0 {
                    let progress = self.progress(done);
                    self.database.commit(tx, &self.lease, progress).await?;
                }
                return Ok(Outcome::Failed(done, Failure { error, is_of_event }));
            }
            done += 1;
            if started.elapsed() > D::OPEN {
                is_cut_short = true;
                break;
            }
        }
        if D::QUEUES
            && let Err(error) = D::flush(&mut tx).await
        {
            let (error, is_of_event) = (error.into(), D::is_usable(&tx));
            return Ok(Outcome::Failed(0, Failure { error, is_of_event }));
        }
        self.database
            .check(&mut tx, &self.lease, Stage::Applied)
            .await?;
        let progress = self.progress(done);
        match self.database.commit(tx, &self.lease, progress).await {
            Err(LeaseError::Refused(_)) if done > 1 => Ok(Outcome::Unclear),
            Err(LeaseError::Refused(error)) if done == 1 => {
                let (error, is_of_event) = (error.into(), true);
                Ok(Outcome::Failed(0, Failure { error, is_of_event }))
            }
            committed => committed.map(|()| Outcome::Done(done, is_cut_short)),
        }
    }

    async fn apply(
        &self,
        event: &RecordedEvent,
        tx: &mut D::Transaction,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let apply = async {
            let decoded = P::Feed::decode(event)?;
            let applied = self.projection.apply(decoded, event, tx).await;
            applied.map_err(Into::into)
        };
        catch(apply).await?
    }

    /// Returns the checkpoint after the first `done` events of the batch.
    fn progress(&self, done: usize) -> Progress {
        let end = self.range.start + done;
        let position = if end >= self.events.len() {
            self.up_to
        } else {
            last_of(&self.events, end, self.lease.position)
        };
        Progress {
            position,
            term: self.term,
            park: None,
            replayed: self.replayed,
        }
    }
}

/// Returns the position of the event before index `next`, or `before` if there is none.
pub(super) fn last_of(events: &[RecordedEvent], next: usize, before: Position) -> Position {
    let last = next.checked_sub(1).and_then(|last| events.get(last));
    last.map_or(before, |event| event.position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_grows_while_it_is_short_and_shrinks_at_once() {
        let mut size = BatchSize::new();
        size.learn(16, false);
        assert_eq!(size.get(), 64);
        size.learn(20, true);
        assert_eq!(size.get(), 20);
        size.learn(1, true);
        assert_eq!(size.get(), 1, "a single event took all the time");
        for _ in 0..9 {
            size.learn(size.get(), false);
        }
        assert_eq!(size.get(), MOST);
    }
}
