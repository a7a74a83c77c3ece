//! The status of projections: [`ProjectionStatus`], and the reports of a runner.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{LastError, ProjectionDatabase, ProjectionError, ReadModel, metrics, pages::head};
use crate::{
    EventFilter, EventStore, EventStoreError, Position, chain::chain, store::ReadFeedRequest,
};

/// The status of a projection.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProjectionStatus {
    /// The name of the projection.
    pub name: String,
    /// The checkpoint: every event up to it is applied, dead-lettered or not part of the feed.
    pub position: Position,
    /// The position of the store's latest event.
    pub head: Position,
    /// The number of positions between the checkpoint and the head. Events that a filtered
    /// projection does not read are counted, but skipped at no cost.
    pub lag: u64,
    /// The age of the oldest event after the checkpoint; zero if there is none.
    pub lag_time: Duration,
    /// The state of the projection.
    pub state: ProjectionState,
    /// The process that leads the projection, if any.
    pub leader: Option<String>,
    /// The last error, unless a batch has been committed since.
    pub last_error: Option<LastError>,
    /// The number of dead letters.
    pub parked: u64,
    /// The number of events applied per second recently; `None` if another process applies them.
    pub events_per_second: Option<f64>,
}

/// The state of a projection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProjectionState {
    /// The runner has started and does not hold the lease yet.
    Starting,
    /// Another process leads; this one takes over if that one stops.
    Standby {
        /// The name of the leader.
        leader: String,
    },
    /// The projection applies past events.
    CatchingUp,
    /// The projection has applied all events and waits for new ones.
    Live,
    /// An event could not be applied and is retried.
    Retrying {
        /// The number of attempts.
        attempts: u32,
    },
    /// The store or the database failed, and the operation is retried.
    Waiting,
    /// The projection runs in another process.
    Elsewhere,
    /// The projection does not run in any process.
    Stopped,
    /// The projection ended with an error; see [`ProjectionStatus::last_error`].
    Failed,
}

/// The state that a runner reports to its handle.
#[derive(Debug, Clone)]
pub(super) struct Report(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    /// `true` for a rebuild, which reports no metrics.
    is_rebuild: bool,
    position: watch::Sender<Position>,
    /// Set when the runner ends with an error.
    failure: watch::Sender<Option<LastError>>,
    now: Mutex<Now>,
}

#[derive(Debug, Clone)]
struct Now {
    state: ProjectionState,
    last_error: Option<LastError>,
    leads: bool,
    /// The position and time at which leading began.
    began: (Position, Instant),
    /// The number of events, and the time since when they are counted.
    counted: (u64, Instant),
    rate: f64,
}

impl Report {
    pub(super) fn new(name: &'static str) -> Self {
        Self::of(name, false)
    }

    pub(super) fn of_rebuild(name: &'static str) -> Self {
        Self::of(name, true)
    }

    fn of(name: &'static str, is_rebuild: bool) -> Self {
        let now = Now {
            state: ProjectionState::Starting,
            last_error: None,
            leads: false,
            began: (Position::START, Instant::now()),
            counted: (0, Instant::now()),
            rate: 0.0,
        };
        Self(Arc::new(Inner {
            name,
            is_rebuild,
            position: watch::Sender::default(),
            failure: watch::Sender::default(),
            now: Mutex::new(now),
        }))
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leading(&self, leads: bool) {
        if !self.0.is_rebuild {
            metrics::leads(self.0.name, leads);
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.0.name
    }

    pub(super) fn leads(&self, position: Position) {
        let mut now = self.now();
        now.leads = true;
        now.began = (position, Instant::now());
        now.state = ProjectionState::CatchingUp;
        self.leading(true);
        self.0.position.send_replace(position);
    }

    pub(super) fn state(&self, state: ProjectionState) {
        let mut now = self.now();
        if now.state != state {
            now.leads = !matches!(state, ProjectionState::Standby { .. });
            self.leading(now.leads);
            tracing::debug!(
                projection = self.0.name,
                ?state,
                "the state of the projection has changed"
            );
            now.state = state;
        }
    }

    /// Records that the database responds again.
    pub(super) fn answered(&self) {
        let is_waiting = self.now().state == ProjectionState::Waiting;
        if is_waiting {
            self.state(ProjectionState::Live);
        }
    }

    /// Records a committed batch.
    pub(super) fn progress(&self, position: Position, events: usize, took: Duration) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        {
            let mut now = self.now();
            now.last_error = None;
            now.count(events);
        }
        if !self.0.is_rebuild {
            metrics::batch(self.0.name, position, events, took);
        }
        tracing::trace!(projection = self.0.name, %position, events, ?took, "a batch is applied");
        self.0.position.send_replace(position);
    }

    pub(super) fn error(&self, error: LastError) {
        if !self.0.is_rebuild {
            metrics::error(self.0.name);
        }
        self.now().last_error = Some(error);
    }

    pub(super) fn parked(&self) {
        if !self.0.is_rebuild {
            metrics::parked(self.0.name);
        }
    }

    pub(super) fn ended(&self, error: Option<&ProjectionError>) {
        let mut now = self.now();
        now.leads = false;
        self.leading(false);
        now.state = match error {
            None => ProjectionState::Stopped,
            Some(error) => {
                tracing::error!(
                    projection = self.0.name,
                    error = chain(error),
                    "the projection ended"
                );
                let failure = LastError {
                    message: chain(error),
                    position: error.position(),
                    at: SystemTime::now(),
                };
                now.last_error = Some(failure.clone());
                self.0.failure.send_replace(Some(failure));
                ProjectionState::Failed
            }
        };
    }

    /// Returns a receiver of the position that this process has reached.
    pub(super) fn position(&self) -> watch::Receiver<Position> {
        self.0.position.subscribe()
    }

    /// Returns a receiver of the error that ended the runner, if any.
    pub(super) fn failure(&self) -> watch::Receiver<Option<LastError>> {
        self.0.failure.subscribe()
    }

    /// Returns the position at which leading began, and the time since then.
    pub(super) fn began(&self) -> (Position, Duration) {
        let (position, at) = self.now().began;
        (position, at.elapsed())
    }

    /// Returns the number of events per second; during the first second, the rate so far.
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn rate(&self) -> f64 {
        let mut now = self.now();
        now.count(0);
        if now.rate > 0.0 {
            return now.rate;
        }
        let (events, since) = now.counted;
        events as f64 / since.elapsed().as_secs_f64().max(0.001)
    }

    /// Fills in the parts of the status that only this process knows.
    pub(super) fn complete(&self, status: &mut ProjectionStatus) {
        let rate = self.rate();
        let now = self.now();
        status.state = now.state.clone();
        if now.last_error.is_some() {
            status.last_error.clone_from(&now.last_error);
        }
        status.events_per_second = now.leads.then_some(rate);
    }
}

impl Now {
    /// Counts events, and updates the smoothed rate once a second.
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    fn count(&mut self, events: u64) {
        self.counted.0 += events;
        let time = self.counted.1.elapsed();
        if time >= Duration::from_secs(1) {
            let latest = self.counted.0 as f64 / time.as_secs_f64();
            let is_first = self.rate == 0.0;
            self.rate = if is_first {
                latest
            } else {
                self.rate * 0.5 + latest * 0.5
            };
            self.counted = (0, Instant::now());
        }
    }
}

/// Returns the status of a projection by its name, regardless of the process in which it runs.
///
/// # Errors
/// Returns [`EventStoreError`] if the store or the database cannot be read.
pub async fn status<S: EventStore, D: ProjectionDatabase>(
    store: &S,
    database: &D,
    name: &str,
) -> Result<ProjectionStatus, EventStoreError> {
    status_of(store, &database.live(name), name).await
}

pub(super) async fn status_of<S: EventStore, D: ReadModel>(
    store: &S,
    read_model: &D,
    name: &str,
) -> Result<ProjectionStatus, EventStoreError> {
    let record = read_model.record().await?;
    let position = record
        .as_ref()
        .map_or(Position::START, |record| record.position);
    let request = ReadFeedRequest {
        after: position,
        filter: EventFilter::All,
        limit: 1,
    };
    let oldest = store.read_feed(request).await?;
    let head = head(store).await?;
    let waits = |since: SystemTime| SystemTime::now().duration_since(since).unwrap_or_default();
    let oldest = oldest.events.first();
    let leader = record.as_ref().and_then(|record| record.leader.clone());
    let status = ProjectionStatus {
        name: name.to_owned(),
        position,
        head,
        lag: head.get().saturating_sub(position.get()),
        lag_time: oldest.map_or(Duration::ZERO, |event| waits(event.recorded_at)),
        state: match leader {
            Some(_) => ProjectionState::Elsewhere,
            None => ProjectionState::Stopped,
        },
        leader,
        last_error: record.as_ref().and_then(|record| record.last_error.clone()),
        parked: record.map_or(0, |record| record.parked),
        events_per_second: None,
    };
    metrics::lag(name, &status);
    Ok(status)
}
