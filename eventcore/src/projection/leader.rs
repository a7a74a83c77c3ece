//! Stands by for the lease, and while it has it: follows the feed, applies batch after batch, and deals with what fails.

use std::{
    convert::Infallible,
    future::Future,
    ops::Range,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use super::{
    ErrorPolicy, EventFeed, Leadership, Lease, LeaseError, Projection, ProjectionError, ReadModel,
    Stage, SubscriptionError,
    batch::{Batch, BatchSize, Failure, Outcome, last_of},
    database::{DeadLetter, LastError, Progress},
    error::with_sources,
    metrics,
    pages::Pages,
    panic::{Panic, catch},
    policy::Verdict,
    shutdown::Shutdown,
    status::{ProjectionState, Report, status_of},
};
use crate::{
    EventFilter, EventStore, EventStoreError, Position, RecordedEvent,
    store::{FeedPage, ReadFeed},
};

/// How often one who stands by looks whether the lease is free.
const STANDBY: Duration = Duration::from_millis(100);
/// How often the checkpoint is moved over events that the projection does not read.
const PASSING: Duration = Duration::from_millis(50);
/// How often the recorder of metrics is told how far behind the projection is.
const MEASURED: Duration = Duration::from_secs(1);
/// The pauses after a database or store that failed.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// What a projection is run with.
#[derive(Debug)]
pub(super) struct Setup<S, D, P> {
    pub(super) store: S,
    pub(super) database: D,
    pub(super) projection: Arc<P>,
    pub(super) policy: ErrorPolicy,
    /// How long the lease is held without a sign of life.
    pub(super) term: Duration,
    /// What this process is called as a leader.
    pub(super) instance: Arc<str>,
}

impl<S: Clone, D, P> Setup<S, D, P> {
    /// The same for one of its read models.
    pub(super) fn of<E>(&self, database: E) -> Setup<S, E, P> {
        Setup {
            store: self.store.clone(),
            database,
            projection: self.projection.clone(),
            policy: self.policy.clone(),
            term: self.term,
            instance: self.instance.clone(),
        }
    }
}

impl<S: Clone, D: Clone, P> Clone for Setup<S, D, P> {
    fn clone(&self) -> Self {
        self.of(self.database.clone())
    }
}

/// Why a leader leads no longer.
enum Exit {
    /// It was asked to.
    Stop,
    /// It has come as far as it was to.
    Arrived,
    /// Another leads.
    Lost,
    Failed(ProjectionError),
}

impl From<ProjectionError> for Exit {
    fn from(error: ProjectionError) -> Self {
        Self::Failed(error)
    }
}

/// Separates what may pass, and is tried again after a pause, from what ends the lead.
fn passing(projection: &'static str, error: LeaseError) -> Result<EventStoreError, Exit> {
    match error {
        LeaseError::Lost => Err(Exit::Lost),
        LeaseError::Forbidden(forbidden) => {
            let forbidden = ProjectionError::Forbidden {
                projection,
                forbidden,
            };
            Err(forbidden.into())
        }
        LeaseError::Database(error) | LeaseError::Refused(error) => Ok(error),
    }
}

pub(super) struct Run<'a, S, D, P, F> {
    setup: Setup<S, D, P>,
    pub(super) report: Report,
    shutdown: Shutdown<'a, F>,
    /// Where to end; `None` to go on for ever.
    until: Option<Position>,
    /// When the recorder of metrics was told how far behind it is.
    measured: Option<Instant>,
}

impl<'a, S, D, P, F> Run<'a, S, D, P, F>
where
    S: EventStore + Clone + 'static,
    D: ReadModel,
    P: Projection<D::Transaction>,
    F: Future<Output = ()>,
{
    pub(super) fn new(
        setup: Setup<S, D, P>,
        report: Report,
        shutdown: Shutdown<'a, F>,
        until: Option<Position>,
    ) -> Self {
        Self {
            setup,
            report,
            shutdown,
            until,
            measured: None,
        }
    }

    /// Leads whenever the lease is free. Returns the lease if it has arrived, `None` if it was asked to stop.
    pub(super) async fn stand_by(&mut self) -> Result<Option<Lease>, ProjectionError> {
        let mut pauses = Pauses::new();
        loop {
            let (database, instance) = (self.setup.database.clone(), self.setup.instance.clone());
            let waited = match database.lead(&instance, self.setup.term).await {
                Ok(Leadership::Taken(mut lease)) => {
                    pauses = Pauses::new();
                    let exit = self.lead(&mut lease).await;
                    if !matches!(exit, Exit::Arrived) {
                        // If this fails, the lease runs out by itself. One that is lost cannot be given up either.
                        let _ = database.resign(&lease).await;
                    }
                    match exit {
                        Exit::Stop => return Ok(None),
                        Exit::Arrived => return Ok(Some(lease)),
                        Exit::Failed(error) => return Err(error),
                        Exit::Lost => {
                            tracing::info!(
                                projection = P::NAME,
                                "lost the lease of the projection"
                            );
                            Ok(())
                        }
                    }
                }
                Ok(Leadership::Held { leader }) => {
                    self.report.state(ProjectionState::Standby { leader });
                    self.sleep(STANDBY).await
                }
                Err(error) => self.pause(&mut pauses, error).await,
            };
            match waited {
                Ok(()) => {}
                Err(Exit::Failed(error)) => return Err(error),
                Err(_) => return Ok(None),
            }
        }
    }

    async fn lead(&mut self, lease: &mut Lease) -> Exit {
        match catch(self.try_lead(lease)).await {
            Ok(Ok(never)) => match never {},
            Ok(Err(exit)) => exit,
            Err(Panic(message)) => {
                let projection = P::NAME;
                ProjectionError::Panicked {
                    projection,
                    message,
                }
                .into()
            }
        }
    }

    async fn try_lead(&mut self, lease: &mut Lease) -> Result<Infallible, Exit> {
        tracing::info!(projection = P::NAME, fence = lease.fence, position = %lease.position, "leads the projection");
        self.report.leads(lease.position);
        self.prepare(lease).await?;
        let store = self.setup.store.clone();
        let mut pages = Pages::new(store, lease.position, P::Feed::filter());
        let (mut pauses, mut size) = (Pauses::new(), BatchSize::new());
        let tick = (self.setup.term / 3).min(Duration::from_millis(500));
        let mut kept = Instant::now();
        // How far pages without events looked, and when the checkpoint was last committed.
        let (mut passed, mut committed) = (None, Instant::now());
        loop {
            if self.until.is_some_and(|until| lease.position >= until) {
                return Err(Exit::Arrived);
            }
            self.measure().await;
            let patience = if passed.is_some() { PASSING } else { tick };
            let page = tokio::time::timeout(patience, pages.next());
            match self.shutdown.or(page).await {
                None | Some(Ok(Err(SubscriptionError::Store(EventStoreError::Closed)))) => {
                    return Err(Exit::Stop);
                }
                Some(Ok(Ok(page))) if page.events.is_empty() => passed = Some(page.up_to),
                Some(Ok(Ok(page))) => {
                    (pauses, passed) = (Pauses::new(), None);
                    self.page(lease, page, &mut size).await?;
                    self.report.state(if pages.has_more() {
                        ProjectionState::CatchingUp
                    } else {
                        ProjectionState::Live
                    });
                    committed = Instant::now();
                }
                Some(Ok(Err(SubscriptionError::Store(error)))) => {
                    self.pause(&mut pauses, error).await?;
                }
                Some(Ok(Err(error))) => return Err(ProjectionError::Subscription(error).into()),
                // Nothing new for a while.
                Some(Err(_)) => {}
            }
            if let Some(up_to) = passed
                && (committed.elapsed() >= PASSING || self.until.is_some())
            {
                let page = FeedPage {
                    events: Vec::new(),
                    up_to,
                    head: up_to,
                };
                self.page(lease, page, &mut size).await?;
                self.report.state(ProjectionState::Live);
                (passed, committed) = (None, Instant::now());
            }
            if kept.elapsed() >= tick {
                self.keep(lease).await?;
                self.replay(lease).await?;
                self.report.answered();
                kept = Instant::now();
            }
        }
    }

    async fn prepare(&mut self, lease: &Lease) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            let projection = self.setup.projection.clone();
            let database = self.setup.database.clone();
            let (held, progress) = (lease, self.progress(lease.position));
            let lease = held.clone();
            let prepared = self.setup.database.run(async move {
                let mut tx = database.begin(&lease).await?;
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
                    return Ok(Some((error, D::is_usable(&tx))));
                }
                database.check(&mut tx, &lease, Stage::Prepared).await?;
                match database.commit(tx, &lease, progress).await {
                    Err(LeaseError::Refused(error)) => Ok(Some((error.into(), true))),
                    committed => committed.map(|()| None),
                }
            });
            let error = match prepared.await {
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some((source, true)))) => {
                    // A swap may have changed the tables under this leader: then the fault is not the projection's.
                    self.keep(held).await?;
                    return Err(ProjectionError::Prepare {
                        projection: P::NAME,
                        source,
                    }
                    .into());
                }
                Ok(Ok(Some((source, false)))) => EventStoreError::Unavailable { source },
                Ok(Err(error)) => passing(P::NAME, error)?,
                Err(error) => error,
            };
            self.pause(&mut pauses, error).await?;
        }
    }

    /// Applies a page, batch by batch.
    async fn page(
        &mut self,
        lease: &mut Lease,
        page: FeedPage,
        size: &mut BatchSize,
    ) -> Result<(), Exit> {
        let (events, up_to) = (Arc::new(page.events), page.up_to);
        let mut pauses = Pauses::new();
        let mut next = 0;
        // Before this event batches end, since it could not be applied with others.
        let mut bad: Option<usize> = None;
        // Those before this event are committed each by itself, to find the one that the commit fails for.
        let mut alone = 0;
        let mut attempts = 0;
        loop {
            if self.shutdown.is_requested().await {
                return Err(Exit::Stop);
            }
            self.measure().await;
            let end = match bad {
                _ if next < alone => next + 1,
                Some(bad) if bad == next => next + 1,
                Some(bad) if bad > next => bad.min(next + size.get()),
                _ => next + size.get(),
            };
            let range = next..end.min(events.len());
            let range_end = range.end;
            let started = Instant::now();
            match self.batch(lease, &events, range, up_to, None).await? {
                Outcome::Done(done, is_cut_short) => {
                    (pauses, attempts) = (Pauses::new(), 0);
                    size.learn(done, is_cut_short);
                    next += done;
                    let is_end = next >= events.len();
                    lease.position = if is_end {
                        up_to
                    } else {
                        last_of(&events, next, lease.position)
                    };
                    self.report
                        .progress(lease.position, done, started.elapsed());
                    if is_end {
                        return Ok(());
                    }
                }
                Outcome::Failed(done, failure) => {
                    let failed = next + done;
                    if !D::ROLLS_BACK && done > 0 {
                        next = failed;
                        lease.position = last_of(&events, next, lease.position);
                        self.report
                            .progress(lease.position, done, started.elapsed());
                    }
                    if !failure.is_of_event {
                        let source = failure.error;
                        self.pause(&mut pauses, EventStoreError::Unavailable { source })
                            .await?;
                        continue;
                    }
                    bad = Some(failed);
                    // Those before it have to be applied again without it.
                    if D::ROLLS_BACK && done > 0 {
                        continue;
                    }
                    let Some(event) = events.get(next) else {
                        continue;
                    };
                    attempts += 1;
                    if self.failed(lease, event, failure, attempts).await? {
                        next += 1;
                        attempts = 0;
                    }
                }
                Outcome::Unclear => alone = range_end,
                Outcome::Refused(error) => {
                    self.pause(&mut pauses, passing(P::NAME, error)?).await?;
                }
            }
        }
    }

    async fn batch(
        &self,
        lease: &Lease,
        events: &Arc<Vec<RecordedEvent>>,
        range: Range<usize>,
        up_to: Position,
        replayed: Option<Position>,
    ) -> Result<Outcome, Exit> {
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
        let run = self.setup.database.run(batch.run()).await;
        Ok(run.unwrap_or_else(|error| Outcome::Refused(error.into())))
    }

    /// Deals with an event that was not applied; whether it is put aside now.
    async fn failed(
        &mut self,
        lease: &mut Lease,
        event: &RecordedEvent,
        failure: Failure,
        attempts: u32,
    ) -> Result<bool, Exit> {
        // A swap may have changed the tables under this leader: then the fault is not the event's.
        self.keep(lease).await?;
        let position = event.position;
        let error = LastError {
            message: with_sources(&*failure.error),
            position: Some(position),
            at: SystemTime::now(),
        };
        tracing::error!(projection = P::NAME, %position, attempts, error = error.message, "an event could not be applied");
        self.report.error(error.clone());
        let verdict = self.setup.policy.after(attempts);
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
            tracing::warn!(projection = P::NAME, %position, "the event is parked");
            self.report.parked();
            lease.position = position;
            return Ok(true);
        }
        let _ = self.setup.database.note(lease, &error).await;
        match verdict {
            Verdict::Retry(pause) => {
                self.report.state(ProjectionState::Retrying { attempts });
                let until = Instant::now() + pause;
                while let Some(left) = until.checked_duration_since(Instant::now()) {
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

    /// A commit of the checkpoint alone.
    async fn commit(&mut self, lease: &Lease, progress: Progress) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            let (database, lease) = (self.setup.database.clone(), lease.clone());
            let progress = progress.clone();
            let run = self.setup.database.run(async move {
                let tx = database.begin(&lease).await?;
                database.commit(tx, &lease, progress).await
            });
            let error = match run.await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => passing(P::NAME, error)?,
                Err(error) => error,
            };
            self.pause(&mut pauses, error).await?;
        }
    }

    /// Has the recorder of metrics know every now and then how far behind a live projection is, also one that is stuck.
    async fn measure(&mut self) {
        let is_due = self.measured.is_none_or(|last| last.elapsed() >= MEASURED);
        if metrics::ENABLED && self.until.is_none() && is_due {
            self.measured = Some(Instant::now());
            // It tells the recorder.
            let _ = status_of(&self.setup.store, &self.setup.database, P::NAME).await;
        }
    }

    /// Holds the lease for another term.
    async fn keep(&mut self, lease: &Lease) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            match self.setup.database.renew(lease, self.setup.term).await {
                Ok(()) => return Ok(()),
                Err(error) => self.pause(&mut pauses, passing(P::NAME, error)?).await?,
            }
        }
    }

    /// Applies parked events again that somebody asked for: some of them, so that others need not wait for long.
    async fn replay(&mut self, lease: &mut Lease) -> Result<(), Exit> {
        let record = self.setup.database.record().await;
        if !record.is_ok_and(|record| record.is_some_and(|record| record.to_replay)) {
            return Ok(());
        }
        let mut after = Position::START;
        loop {
            let letters = self.setup.database.dead_letters(after).await;
            // What cannot be read now is tried at the next look.
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

    /// Applies a parked event again; whether the next one can be tried.
    async fn replay_one(&mut self, lease: &Lease, letter: DeadLetter) -> Result<bool, Exit> {
        let position = letter.position;
        let request = ReadFeed {
            after: Position::new(position.get().saturating_sub(1)),
            filter: EventFilter::All,
            limit: 1,
        };
        let Ok(page) = self.setup.store.read_feed(request).await else {
            return Ok(false);
        };
        let events = Arc::new(page.events);
        let batch = self.batch(lease, &events, 0..1, lease.position, Some(position));
        match batch.await? {
            Outcome::Done(..) => {
                tracing::info!(projection = P::NAME, %position, "a parked event is applied");
                Ok(true)
            }
            Outcome::Failed(_, failure) if failure.is_of_event => {
                let mut progress = self.progress(lease.position);
                progress.park = Some(DeadLetter {
                    error: with_sources(&*failure.error),
                    attempts: letter.attempts.saturating_add(1),
                    to_replay: false,
                    ..letter
                });
                self.commit(lease, progress).await.map(|()| true)
            }
            Outcome::Failed(_, Failure { error: source, .. }) => {
                let error = EventStoreError::Unavailable { source };
                self.pause(&mut Pauses::new(), error).await.map(|()| false)
            }
            // It is one event.
            Outcome::Unclear => Ok(false),
            Outcome::Refused(error) => {
                let error = passing(P::NAME, error)?;
                self.pause(&mut Pauses::new(), error).await.map(|()| false)
            }
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

    /// Waits after a failure that may pass, longer each time.
    async fn pause(&mut self, pauses: &mut Pauses, error: EventStoreError) -> Result<(), Exit> {
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
        let message = with_sources(&error);
        tracing::warn!(
            projection = P::NAME,
            error = message,
            "the projection waits for its database"
        );
        self.report.error(LastError {
            message,
            position: None,
            at: SystemTime::now(),
        });
        self.report.state(ProjectionState::Waiting);
        self.sleep(pauses.next()).await
    }

    async fn sleep(&mut self, time: Duration) -> Result<(), Exit> {
        let slept = self.shutdown.or(tokio::time::sleep(time)).await;
        slept.ok_or(Exit::Stop)
    }
}

/// Ever longer pauses.
struct Pauses(Duration);

impl Pauses {
    const fn new() -> Self {
        Self(PAUSES.0)
    }

    fn next(&mut self) -> Duration {
        let next = self.0;
        self.0 = (next * 2).min(PAUSES.1);
        next.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
