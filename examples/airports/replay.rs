//! Runs the flights, many at a time, each at most once.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
    vec,
};

use eventcore::{
    CommandError, EventStore, ExecuteOptions, IdempotencyKey, IdempotencyKeyError, MetricsHook,
    Position, RetryContext, RetryPolicy, RetryReason, execute,
};
use tokio::task::JoinSet;

use crate::{domain::Flight, progress::Progress};

/// What a replay did.
#[derive(Debug, Default)]
pub struct Tally {
    pub committed: u64,
    pub already_there: u64,
    pub retries: u64,
    pub conflicts: u64,
    /// Where the last of the flights stands in the log.
    pub position: Position,
}

/// Counts what the runtime tells about retries.
#[derive(Clone, Default)]
struct Counter(Arc<Counts>);

#[derive(Default)]
struct Counts {
    retries: AtomicU64,
    conflicts: AtomicU64,
}

impl MetricsHook for Counter {
    fn on_retry_attempt(&self, context: &RetryContext) {
        self.0.retries.fetch_add(1, Ordering::Relaxed);
        if let RetryReason::Conflict(_) = context.reason {
            self.0.conflicts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How long a flight is retried. Between two of the busiest airports it loses again and again to flights that touch
/// one of them only, and may have to wait until most of the others are done.
const PATIENCE: Duration = Duration::from_mins(15);

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Command(#[from] CommandError<Infallible>),
    #[error("a flight makes no idempotency key: {0}")]
    Key(#[from] IdempotencyKeyError),
}

/// The flights that no client has taken yet.
type Queue = Arc<Mutex<vec::IntoIter<Flight>>>;

/// Runs the flights by `clients` clients until none is left, or until `stop` is set; what is under way is finished.
pub async fn replay<S: EventStore + Clone + 'static>(
    store: &S,
    flights: Vec<Flight>,
    clients: u32,
    progress: &Progress,
    stop: &Arc<AtomicBool>,
) -> Result<Tally, ReplayError> {
    let queue: Queue = Arc::new(Mutex::new(flights.into_iter()));
    let counter = Counter::default();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(client(
            store.clone(),
            queue.clone(),
            counter.clone(),
            progress.clone(),
            stop.clone(),
        ));
    }
    let mut tally = Tally::default();
    for ended in tasks.join_all().await {
        let (committed, already_there, position) = ended?;
        tally.committed += committed;
        tally.already_there += already_there;
        tally.position = tally.position.max(position);
    }
    tally.retries = counter.0.retries.load(Ordering::Relaxed);
    tally.conflicts = counter.0.conflicts.load(Ordering::Relaxed);
    Ok(tally)
}

async fn client<S: EventStore>(
    store: S,
    queue: Queue,
    counter: Counter,
    progress: Progress,
    stop: Arc<AtomicBool>,
) -> Result<(u64, u64, Position), ReplayError> {
    let (mut committed, mut already_there, mut position) = (0, 0, Position::START);
    while !stop.load(Ordering::Relaxed)
        && let Some(flight) = next(&queue)
    {
        let retry = RetryPolicy::new()
            .max_attempts(u32::MAX)
            .deadline(PATIENCE)
            .metrics_hook(counter.clone());
        let options = ExecuteOptions::from(retry).idempotency_key(key(&flight)?);
        let done = execute(&store, flight, options)
            .await
            .inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
        position = position.max(done.position());
        if done.is_repeated() {
            already_there += 1;
        } else {
            committed += 1;
        }
        progress.one_more();
    }
    Ok((committed, already_there, position))
}

/// Made of the line and its content: a list that was changed in between is another list.
fn key(flight: &Flight) -> Result<IdempotencyKey, IdempotencyKeyError> {
    let Flight {
        number,
        departure,
        origin,
        destination,
        distance_miles,
        delay_minutes,
    } = flight;
    let (origin, destination) = (&origin.0, &destination.0);
    IdempotencyKey::new(format!(
        "{number}:{departure},{origin},{destination},{distance_miles},{delay_minutes}"
    ))
}

fn next(queue: &Queue) -> Option<Flight> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).next()
}
