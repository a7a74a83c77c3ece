//! Prepares the read model, applies the pages of a feed in batches, isolates failing events, and
//! replays dead letters.

use std::{
    future::{Future, poll_fn},
    ops::Range,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Lease, LeaseError, Projection, ProjectionError, ReadModel, Stage,
    batch::{Batch, BatchSize, Failure, Outcome, last_of},
    database::{DeadLetter, LastError, Progress},
    leader::{Exit, Run, renewal},
    page::{Failed, PagePlan},
    panic::catch,
    policy::Verdict,
    retry::Pauses,
    status::ProjectionState,
};
use crate::{
    EventFilter, EventStore, Position, RecordedEvent,
    chain::chain,
    store::{FeedPage, ReadFeedRequest},
};

impl<S, D, P, F> Run<'_, S, D, P, F>
where
    S: EventStore + Clone + 'static,
    D: ReadModel,
    P: Projection<D::Transaction>,
    F: Future<Output = ()>,
{
    pub(super) async fn prepare(&mut self, lease: &Lease) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            let projection = self.setup.projection.clone();
            let (database, held) = (self.setup.database.clone(), lease.clone());
            let progress = self.progress(lease.position);
            let prepared = self.run_held(lease, async move {
                let mut tx = database.begin(&held).await?;
                let mut prepared = match catch(projection.prepare(&mut tx)).await {
                    Ok(prepared) => prepared.map_err(Into::into),
                    Err(panic) => Err(panic.into()),
                };
                if prepared.is_ok() {
                    prepared = D::flush(&mut tx).await.map_err(Into::into);
                }
                if let Err(error) = prepared {
                    if let Some(forbidden) = D::forbidden(&tx) {
                        return Err(LeaseError::Forbidden(forbidden));
                    }
                    let is_of_event = D::is_usable(&tx);
                    return Ok(Some(Failure { error, is_of_event }));
                }
                database.check(&mut tx, &held, Stage::Prepared).await?;
                match database.commit(tx, &held, progress).await {
                    Err(LeaseError::Refused(error)) => Ok(Some(Failure {
                        error: error.into(),
                        is_of_event: true,
                    })),
                    committed => committed.map(|()| None),
                }
            });
            let prepared = prepared.await;
            match self.settle(&mut pauses, prepared).await? {
                Some(None) => return Ok(()),
                Some(Some(failure)) if failure.is_of_event => {
                    // Checks the lease first: if a swap has replaced the tables, the projection is
                    // not at fault.
                    self.keep(lease).await?;
                    let (projection, source) = (P::NAME, failure.error);
                    return Err(ProjectionError::Prepare { projection, source }.into());
                }
                Some(Some(failure)) => self.pause(&mut pauses, failure.of_database()).await?,
                None => {}
            }
        }
    }

    /// Applies a page in batches.
    pub(super) async fn page(
        &mut self,
        lease: &mut Lease,
        page: FeedPage,
        size: &mut BatchSize,
    ) -> Result<(), Exit> {
        let (events, up_to) = (Arc::new(page.events), page.scanned_to);
        let (mut plan, mut pauses) = (PagePlan::new(events.len()), Pauses::new());
        loop {
            if self.shutdown.is_requested().await {
                return Err(Exit::Stop);
            }
            self.measure().await;
            let range = plan.batch(size.get());
            let started = Instant::now();
            let outcome = self.batch(lease, &events, range.clone(), up_to, None).await;
            match self.settle(&mut pauses, outcome).await? {
                Some(Outcome::Done(done, is_cut_short)) => {
                    pauses = Pauses::new();
                    size.learn(done, is_cut_short);
                    plan.committed(done);
                    lease.position = if plan.is_complete() {
                        up_to
                    } else {
                        last_of(&events, plan.done(), lease.position)
                    };
                    self.report
                        .progress(lease.position, done, started.elapsed());
                    if plan.is_complete() {
                        return Ok(());
                    }
                }
                Some(Outcome::Failed(mut applied, failure)) => {
                    if !D::ROLLS_BACK && applied > 0 {
                        plan.committed(applied);
                        lease.position = last_of(&events, plan.done(), lease.position);
                        self.report
                            .progress(lease.position, applied, started.elapsed());
                        applied = 0;
                    }
                    if !failure.is_of_event {
                        self.pause(&mut pauses, failure.of_database()).await?;
                        continue;
                    }
                    if let Failed::Judge { event, attempts } = plan.failed(applied)
                        && let Some(event) = events.get(event)
                        && self.failed(lease, event, failure, attempts).await?
                    {
                        plan.parked();
                    }
                }
                Some(Outcome::Unclear) => plan.unclear(&range),
                None => {}
            }
        }
    }

    async fn batch(
        &mut self,
        lease: &Lease,
        events: &Arc<Vec<RecordedEvent>>,
        range: Range<usize>,
        up_to: Position,
        replayed: Option<Position>,
    ) -> Result<Outcome, LeaseError> {
        let batch = Batch {
            projection: self.setup.projection.clone(),
            database: self.setup.database.clone(),
            lease: lease.clone(),
            term: self.setup.term,
            events: events.clone(),
            range,
            up_to,
            replayed,
        };
        self.run_held(lease, batch.run()).await
    }

    /// Handles an event that could not be applied. Returns `true` if the event is now a dead
    /// letter.
    async fn failed(
        &mut self,
        lease: &mut Lease,
        event: &RecordedEvent,
        failure: Failure,
        attempts: u32,
    ) -> Result<bool, Exit> {
        // Checks the lease first: if a swap has replaced the tables, the event is not at fault.
        self.keep(lease).await?;
        let position = event.position;
        let error = LastError {
            message: chain(&*failure.error),
            position: Some(position),
            at: SystemTime::now(),
        };
        tracing::error!(projection = P::NAME, %position, attempts, error = error.message, "an event could not be applied");
        self.report.error(error.clone());
        let verdict = self.setup.policy.after(attempts, position);
        if verdict == Verdict::Park {
            let mut progress = self.progress(position);
            progress.park = Some(DeadLetter {
                position,
                error: error.message,
                attempts,
                parked_at: error.at,
                to_replay: false,
            });
            self.commit(lease, progress).await?;
            tracing::warn!(projection = P::NAME, %position, "the event was parked");
            self.report.parked();
            lease.position = position;
            return Ok(true);
        }
        let _ = self.setup.database.record_error(lease, &error).await;
        match verdict {
            Verdict::Retry(pause) => {
                self.report.state(ProjectionState::Retrying { attempts });
                let started = Instant::now();
                while let Some(left) = pause.checked_sub(started.elapsed()) {
                    self.sleep(left.min(self.setup.term / 3)).await?;
                    self.keep(lease).await?;
                    self.measure().await;
                }
                Ok(false)
            }
            Verdict::Stop | Verdict::Park => Err(ProjectionError::Event {
                projection: P::NAME,
                position,
                stream: event.stream.clone(),
                type_name: event.type_name.clone(),
                attempts,
                source: failure.error,
            }
            .into()),
        }
    }

    /// Commits a checkpoint without applying events.
    async fn commit(&mut self, lease: &Lease, progress: Progress) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            let (database, held) = (self.setup.database.clone(), lease.clone());
            let progress = progress.clone();
            let committed = self.run_held(lease, async move {
                let tx = database.begin(&held).await?;
                database.commit(tx, &held, progress).await
            });
            let committed = committed.await;
            if self.settle(&mut pauses, committed).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Runs database work where it may block, and keeps renewing the lease until the work
    /// completes.
    ///
    /// While a transaction excludes other writers, as on SQLite, the lease cannot be renewed. It
    /// does not have to be: no other process can take the lease, and the commit renews it.
    async fn run_held<T: Send + 'static>(
        &mut self,
        lease: &Lease,
        work: impl Future<Output = Result<T, LeaseError>> + Send + 'static,
    ) -> Result<T, LeaseError> {
        let (database, term) = (&self.setup.database, self.setup.term);
        let renew = async {
            let (mut slept, pause) = (Duration::ZERO, renewal(term));
            loop {
                tokio::time::sleep(pause).await;
                let is_late = slept < term && slept + pause >= term;
                slept = slept.saturating_add(pause);
                if is_late {
                    tracing::warn!(
                        projection = P::NAME,
                        running_for = ?slept,
                        "`apply` or `prepare` has run for longer than the term of the lease, which is renewed meanwhile"
                    );
                }
                // A failed renewal is retried soon. If the lease is lost, the commit is refused.
                let _ = database.renew(lease, term).await;
            }
        };
        // Boxed, because the work contains the projection's future, which may be large.
        let (mut work, mut renew) = (Box::pin(database.run(work)), pin!(renew));
        poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                let _: Poll<()> = renew.as_mut().poll(context);
            }
            done
        })
        .await?
    }

    /// Reapplies some of the dead letters that are marked for replay: few at a time, so as not to
    /// delay new events.
    pub(super) async fn replay(&mut self, lease: &mut Lease) -> Result<(), Exit> {
        let record = self.setup.database.record().await;
        if !record.is_ok_and(|record| record.is_some_and(|record| record.to_replay)) {
            return Ok(());
        }
        let mut after = Position::START;
        loop {
            let letters = self.setup.database.dead_letters(after).await;
            // A failed read is retried at the next check.
            let Some(last) = letters.as_ref().ok().and_then(|letters| letters.last()) else {
                return Ok(());
            };
            after = last.position;
            let letters = letters.unwrap_or_default().into_iter();
            let mut letters = letters.filter(|letter| letter.to_replay).peekable();
            if letters.peek().is_none() {
                continue;
            }
            for letter in letters {
                if self.shutdown.is_requested().await || !self.replay_one(lease, letter).await? {
                    break;
                }
            }
            return Ok(());
        }
    }

    /// Reapplies a dead letter. Returns `true` if the next one can be tried.
    async fn replay_one(&mut self, lease: &Lease, letter: DeadLetter) -> Result<bool, Exit> {
        let position = letter.position;
        let request = ReadFeedRequest {
            after: Position::new(position.get().saturating_sub(1)),
            filter: EventFilter::All,
            limit: 1,
        };
        let Ok(page) = self.setup.store.read_feed(request).await else {
            return Ok(false);
        };
        let events = Arc::new(page.events);
        let batch = self.batch(lease, &events, 0..1, lease.position, Some(position));
        let (batch, mut pauses) = (batch.await, Pauses::new());
        match self.settle(&mut pauses, batch).await? {
            Some(Outcome::Done(..)) => {
                tracing::info!(projection = P::NAME, %position, "a parked event was applied");
                Ok(true)
            }
            Some(Outcome::Failed(_, failure)) if failure.is_of_event => {
                let mut progress = self.progress(lease.position);
                progress.park = Some(DeadLetter {
                    error: chain(&*failure.error),
                    attempts: letter.attempts.saturating_add(1),
                    to_replay: false,
                    ..letter
                });
                self.commit(lease, progress).await.map(|()| true)
            }
            Some(Outcome::Failed(_, failure)) => {
                self.pause(&mut pauses, failure.of_database()).await?;
                Ok(false)
            }
            // The outcome of a batch of one event is never unclear.
            Some(Outcome::Unclear) | None => Ok(false),
        }
    }

    fn progress(&self, position: Position) -> Progress {
        Progress {
            position,
            term: self.setup.term,
            park: None,
            replayed: None,
        }
    }
}
