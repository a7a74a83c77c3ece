//! Runs the flights as commands, many at a time, each at most once.

use std::{
    convert::Infallible,
    fs::File,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use eventcore::{
    CommandError, EventStore, ExecuteOptions, IdempotencyKey, IdempotencyKeyError, MetricsHook,
    Position, RetryContext, RetryPolicy, RetryReason, execute,
};
use tokio::task::JoinSet;

use crate::{domain::Flight, progress::Progress};

/// The result of a replay.
#[derive(Debug, Default)]
pub struct Tally {
    pub committed: u64,
    pub already_there: u64,
    pub retries: u64,
    pub conflicts: u64,
    /// The position of the last flight in the log.
    pub position: Position,
}

/// Counts retries.
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

/// The time for which a flight is retried. A flight between two of the busiest airports often loses to flights that concern only
/// one of them, and may have to wait for most of the others.
const PATIENCE: Duration = Duration::from_mins(15);

/// The pause of a persevering client after a failed flight.
const REST: Duration = Duration::from_millis(20);

/// The reason why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Command(#[from] CommandError<Infallible>),
    #[error("a flight makes no idempotency key: {0}")]
    Key(#[from] IdempotencyKeyError),
    #[error("a committed flight cannot be recorded: {0}")]
    Acknowledge(#[from] io::Error),
}

/// The flights that no client has taken yet.
type Queue = Arc<Mutex<dyn Iterator<Item = Flight> + Send>>;

/// The connection of a replay to its caller.
#[derive(Clone)]
pub struct Watch {
    pub progress: Progress,
    /// Set to end the replay after the flights in progress.
    pub stop: Arc<AtomicBool>,
    /// The file that records each committed flight.
    pub acknowledged: Option<Arc<File>>,
    /// `true` to continue with the next flight when one fails.
    pub persevere: bool,
}

/// Runs the flights by `clients` clients until none is left, or until it is stopped.
pub async fn replay<S: EventStore + Clone + 'static>(
    store: &S,
    flights: impl Iterator<Item = Flight> + Send + 'static,
    clients: u32,
    watch: &Watch,
) -> Result<Tally, ReplayError> {
    let queue: Queue = Arc::new(Mutex::new(flights));
    let counter = Counter::default();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        tasks.spawn(client(
            store.clone(),
            queue.clone(),
            counter.clone(),
            watch.clone(),
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
    watch: Watch,
) -> Result<(u64, u64, Position), ReplayError> {
    let (mut committed, mut already_there, mut position) = (0, 0, Position::START);
    while !watch.stop.load(Ordering::Relaxed)
        && let Some(flight) = next(&queue)
    {
        let retry = RetryPolicy::new()
            .max_attempts(u32::MAX)
            .deadline(PATIENCE)
            .metrics_hook(counter.clone());
        let options = ExecuteOptions::from(retry).idempotency_key(key(&flight)?);
        let number = flight.number;
        let done = match execute(&store, flight, options).await {
            Ok(done) => done,
            Err(error) if watch.persevere => {
                eprintln!("flight {number}: {error}");
                tokio::time::sleep(REST).await;
                continue;
            }
            Err(error) => {
                watch.stop.store(true, Ordering::Relaxed);
                return Err(error.into());
            }
        };
        if let Some(file) = &watch.acknowledged {
            eventcore_faults::verdict::acknowledge(&**file, number)?;
        }
        position = position.max(done.position());
        if done.is_repeated() {
            already_there += 1;
        } else {
            committed += 1;
        }
        watch.progress.one_more();
    }
    Ok((committed, already_there, position))
}

/// Returns the key of a flight. It contains the whole line, so a changed line is another flight.
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
