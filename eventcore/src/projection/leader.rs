//! Acquires a projection's lease and, while holding it, follows the feed.

use std::{
    any::type_name,
    convert::Infallible,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    ErrorPolicy, Leadership, Lease, Projection, ProjectionError, ProjectionRecord, ReadModel,
    SubscriptionError,
    batch::BatchSize,
    feed::EventFeed,
    metrics,
    pages::Pages,
    panic::{Panic, catch},
    registry::{self, Registered},
    retry::Pauses,
    shutdown::Shutdown,
    status::{ProjectionState, Report, status_of},
};
use crate::{EventStore, EventStoreError, Position, store::FeedPage};

/// The time between a standby's attempts to acquire the lease.
const STANDBY: Duration = Duration::from_millis(100);
/// The time between a standby's checks that the leader still renews its lease.
const WATCH: Duration = Duration::from_millis(500);
/// The longest time between two renewals of a lease. For short terms it is a third of the term.
const RENEWAL: Duration = Duration::from_millis(500);
/// The minimum time without a renewal after which a standby takes over a lease that has not expired
/// by the clock, which happens if the clock was set back. Leaders renew more often than this,
/// regardless of the term.
const SILENCE: Duration = Duration::from_secs(2);
/// The time between checkpoint commits that only skip events that the projection does not read.
const PASSING: Duration = Duration::from_millis(50);
/// The time between reports of the lag to the metrics recorder.
const MEASURED: Duration = Duration::from_secs(1);

/// The configuration of a projection.
#[derive(Debug)]
pub(super) struct Setup<S, D, P> {
    pub(super) store: S,
    pub(super) database: D,
    pub(super) projection: Arc<P>,
    pub(super) policy: ErrorPolicy,
    /// The term of the lease.
    pub(super) term: Duration,
    /// The texts of the filters of former feeds.
    pub(super) former_feeds: Vec<String>,
    /// The name of this process as a leader.
    pub(super) instance: Arc<str>,
}

impl<S: Clone, D, P> Setup<S, D, P> {
    /// Returns the same configuration for one of the read models of the database.
    pub(super) fn of<E>(&self, database: E) -> Setup<S, E, P> {
        Setup {
            store: self.store.clone(),
            database,
            projection: self.projection.clone(),
            policy: self.policy.clone(),
            term: self.term,
            former_feeds: self.former_feeds.clone(),
            instance: self.instance.clone(),
        }
    }
}

impl<S: Clone, D: Clone, P> Clone for Setup<S, D, P> {
    fn clone(&self) -> Self {
        self.of(self.database.clone())
    }
}

/// The time between two renewals of a lease.
pub(super) fn renewal(term: Duration) -> Duration {
    (term / 3).min(RENEWAL)
}

/// Watches another process's lease, timed by this process's monotonic clock.
#[derive(Default)]
struct Watch {
    /// The time of the last check.
    looked: Option<Instant>,
    /// The last seen state of the lease, and the time since when it has not changed.
    unchanged: Option<(String, Instant)>,
}

impl Watch {
    fn is_due(&self) -> bool {
        self.looked.is_none_or(|looked| looked.elapsed() >= WATCH)
    }

    /// Returns `true` if the lease has been in this state for at least `time`.
    fn is_unchanged(&mut self, state: Option<String>, time: Duration) -> bool {
        let now = Instant::now();
        self.looked = Some(now);
        match (&self.unchanged, state) {
            (Some((before, since)), Some(state)) if *before == state => {
                now.duration_since(*since) >= time
            }
            (_, state) => {
                self.unchanged = state.map(|state| (state, now));
                false
            }
        }
    }
}

/// The reason why a leader releases its lease.
pub(super) enum Exit {
    /// A stop was requested.
    Stop,
    /// The target position was reached.
    Arrived,
    /// The lease was lost.
    Lost,
    Failed(ProjectionError),
}

impl From<ProjectionError> for Exit {
    fn from(error: ProjectionError) -> Self {
        Self::Failed(error)
    }
}

/// The result of an attempt to acquire the lease.
enum Claim {
    Taken(Lease),
    /// Another process holds the lease. The record is present if it was read.
    Held {
        leader: String,
        record: Option<ProjectionRecord>,
    },
}

pub(super) struct Run<'a, S, D, P, F> {
    pub(super) setup: Setup<S, D, P>,
    pub(super) report: Report,
    pub(super) shutdown: Shutdown<'a, F>,
    /// The position to stop at, or `None` to run indefinitely.
    until: Option<Position>,
    /// The time of the last report to the metrics recorder.
    measured: Option<Instant>,
    /// The last recorded type that a warning was logged about.
    pub(super) warned_of: Option<String>,
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
            warned_of: None,
        }
    }

    pub(super) fn is_rebuild(&self) -> bool {
        self.until.is_some()
    }

    /// Runs the projection whenever the lease can be acquired. Returns the lease once the target
    /// position is reached, or `None` if a stop was requested.
    pub(super) async fn stand_by(&mut self) -> Result<Option<Lease>, ProjectionError> {
        let mut pauses = Pauses::new();
        let mut watch = Watch::default();
        let _registered = Registered::new::<P>(P::NAME, &self.setup.instance, self.is_rebuild());
        loop {
            let database = self.setup.database.clone();
            let waited = match self.claim(&mut watch).await {
                Ok(Claim::Taken(mut lease)) => {
                    (pauses, watch) = (Pauses::new(), Watch::default());
                    let exit = self.lead(&mut lease).await;
                    if !matches!(exit, Exit::Arrived) {
                        // If this fails, the lease expires on its own. Releasing a lost lease has
                        // no effect.
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
                Ok(Claim::Held { leader, record }) => {
                    if let Some(other) = registry::other::<P>(P::NAME, &leader) {
                        return Err(ProjectionError::NameTaken {
                            projection: P::NAME,
                            own_type: type_name::<P>(),
                            other_type: other,
                        });
                    }
                    self.check_leader(record.as_ref())?;
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

    /// Acquires the lease if it is free, has expired, or is no longer renewed.
    async fn claim(&mut self, watch: &mut Watch) -> Result<Claim, EventStoreError> {
        let Setup {
            database,
            instance,
            term,
            ..
        } = &self.setup;
        let leader = match database.lead(instance, *term).await? {
            Leadership::Taken(lease) => return Ok(Claim::Taken(lease)),
            Leadership::Held { leader } => leader,
        };
        if !watch.is_due() {
            let record = None;
            return Ok(Claim::Held { leader, record });
        }
        let record = database.record().await?;
        let state = record.as_ref().map(|record| record.lease_state.clone());
        if !watch.is_unchanged(state, (*term).max(SILENCE)) {
            return Ok(Claim::Held { leader, record });
        }
        tracing::warn!(
            projection = P::NAME,
            leader,
            "takes over from a leader that does not renew its lease, although the lease has not expired"
        );
        match database.seize(instance, *term).await? {
            Leadership::Taken(lease) => Ok(Claim::Taken(lease)),
            Leadership::Held { leader } => Ok(Claim::Held { leader, record }),
        }
    }

    async fn lead(&mut self, lease: &mut Lease) -> Exit {
        match catch(Box::pin(self.try_lead(lease))).await {
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
        tracing::info!(projection = P::NAME, fence = lease.fence, position = %lease.position, "acquired the lease of the projection");
        self.report.leads(lease.position);
        self.identify(lease).await?;
        self.prepare(lease).await?;
        let store = self.setup.store.clone();
        let mut pages = Pages::new(store, lease.position, P::Feed::filter());
        let (mut pauses, mut size) = (Pauses::new(), BatchSize::new());
        let tick = renewal(self.setup.term);
        let mut kept = Instant::now();
        // The end of the latest page without events, and the time of the last checkpoint commit.
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
                Some(Ok(Ok(page))) if page.events.is_empty() => passed = Some(page.scanned_to),
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
                // No new page within this time.
                Some(Err(_)) => {}
            }
            if let Some(up_to) = passed
                && (committed.elapsed() >= PASSING || self.until.is_some())
            {
                let page = FeedPage {
                    events: Vec::new(),
                    scanned_to: up_to,
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

    /// Periodically reports the lag of a live projection to the metrics recorder, even if the
    /// projection is stuck.
    pub(super) async fn measure(&mut self) {
        let is_due = self.measured.is_none_or(|last| last.elapsed() >= MEASURED);
        if metrics::ENABLED && !self.is_rebuild() && is_due {
            self.measured = Some(Instant::now());
            // Reports the lag as a side effect.
            let _ = status_of(&self.setup.store, &self.setup.database, P::NAME).await;
        }
    }

    /// Renews the lease for another term.
    pub(super) async fn keep(&mut self, lease: &Lease) -> Result<(), Exit> {
        let mut pauses = Pauses::new();
        loop {
            let renewed = self.setup.database.renew(lease, self.setup.term).await;
            if self.settle(&mut pauses, renewed).await?.is_some() {
                return Ok(());
            }
        }
    }
}
