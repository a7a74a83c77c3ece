//! Group commit: one task sends all queued commits in one statement and one round trip.
//!
//! The statement calls the function `append` (`sql/schema_1.sql`), which locks the sequencer,
//! checks, and inserts. The lock is held from there until the statement commits, inside the server.
//! While a batch is in flight, the commits for the next one accumulate; a single commit is sent at
//! once.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Row, types::Type};

use crate::store::{CommitReceipt, EventStoreError, KeyReused, VersionConflict};
use crate::{
    Position, Version,
    chain::chain,
    postgres::{
        connection::pool::Pool,
        connection::statement::Query,
        error::Failure,
        read::feed::Feed,
        read::notify::Announcer,
        write::arguments::Arguments,
        write::batch::{Job, Waiting},
    },
};

/// The maximum number of commits that are taken from the queue at a time.
const TAKE: usize = 4096;

const APPEND: &str =
    "SELECT commit, outcome, position, events, stream, actual FROM eventcore.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

const TYPES: [Type; 21] = [
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::UUID_ARRAY,
    Type::UUID_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::BYTEA_ARRAY,
    Type::JSON_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::UUID_ARRAY,
    Type::JSON_ARRAY,
];

pub(crate) enum Message {
    Append(Job),
    /// Finish the queued commits and stop. The sender is dropped then.
    Close(oneshot::Sender<()>),
}

pub(crate) struct Writer {
    pool: Pool,
    append: Query,
    /// The waiters of this process …
    feed: Arc<Feed>,
    /// … and the announcer for other processes.
    announcer: Option<Announcer>,
}

impl Writer {
    pub(crate) fn new(
        pool: Pool,
        schema: &str,
        feed: Arc<Feed>,
        announcer: Option<Announcer>,
    ) -> Self {
        Self {
            pool,
            append: Query::new("append", APPEND, &TYPES, schema),
            feed,
            announcer,
        }
    }

    /// Runs until the store is closed or its last handle is dropped, and the queue is empty.
    pub(crate) async fn run(self, mut queue: mpsc::Receiver<Message>) {
        let (mut messages, mut waiting, mut closing) = (Vec::new(), Waiting::default(), Vec::new());
        loop {
            if waiting.is_empty() && queue.recv_many(&mut messages, TAKE).await == 0 {
                break;
            }
            while messages.len() < TAKE
                && let Ok(message) = queue.try_recv()
            {
                messages.push(message);
            }
            for message in messages.drain(..) {
                match message {
                    Message::Append(job) => waiting.push(job),
                    Message::Close(closed) => {
                        queue.close();
                        closing.push(closed);
                    }
                }
            }
            let jobs = waiting.next();
            let mut head = Position::START;
            for (job, result) in self.commit(jobs).await {
                waiting.learn(&job, &result);
                if let Ok(CommitReceipt {
                    position,
                    events: 1..,
                    ..
                }) = &result
                {
                    head = head.max(*position);
                }
                let _ = job.reply.send(result);
            }
            if head > Position::START {
                self.feed.publish(head);
                self.announcer.iter().for_each(Announcer::announce);
            }
        }
        if let Some(announcer) = self.announcer {
            announcer.end().await;
        }
    }

    /// Makes a batch of commits. If a single commit may have broken it, makes each commit
    /// separately.
    async fn commit(&self, jobs: Vec<Job>) -> Vec<(Job, Result<CommitReceipt, EventStoreError>)> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let sent = match self.send(&jobs).await {
            Err(Sent::Yes(failure)) if failure.may_be_one_commit() && jobs.len() > 1 => {
                let mut results = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let result = match self.send(std::slice::from_ref(&job)).await {
                        Ok(mut one) => one.pop().unwrap_or_else(|| {
                            Err(EventStoreError::corrupt("a commit has no result"))
                        }),
                        Err(failed) => Err(failed.to_error()),
                    };
                    results.push((job, result));
                }
                return results;
            }
            sent => sent,
        };
        match sent {
            Ok(results) => jobs.into_iter().zip(results).collect(),
            Err(failed) => jobs
                .into_iter()
                .map(|job| (job, Err(failed.to_error())))
                .collect(),
        }
    }

    async fn send(
        &self,
        jobs: &[Job],
    ) -> Result<Vec<Result<CommitReceipt, EventStoreError>>, Sent> {
        let mut connection = self.pool.get().await.map_err(Sent::No)?;
        connection.prepare(&self.append).await.map_err(Sent::No)?;
        let arguments = match Arguments::new(jobs) {
            Ok(arguments) => arguments,
            Err(error) => return Ok(jobs.iter().map(|_| Err(other(&error))).collect()),
        };
        let rows = connection
            .query(&self.append, &arguments.parameters())
            .await
            .map_err(Sent::Yes)?;
        results(jobs, &rows).map_err(Sent::Yes)
    }
}

fn other(error: &serde_json::Error) -> EventStoreError {
    EventStoreError::Other {
        source: chain(error).into(),
    }
}

/// The failure of a batch, by whether it was sent.
enum Sent {
    No(Failure),
    Yes(Failure),
}

impl Sent {
    fn to_error(&self) -> EventStoreError {
        match self {
            Self::No(failure) => failure.nothing_written(),
            Self::Yes(failure) => failure.of_commit(),
        }
    }
}

/// Returns the result of each commit.
fn results(
    jobs: &[Job],
    rows: &[Row],
) -> Result<Vec<Result<CommitReceipt, EventStoreError>>, Failure> {
    let mut position = None;
    let mut results: Vec<Option<Result<CommitReceipt, EventStoreError>>> =
        jobs.iter().map(|_| None).collect();
    for row in rows {
        let commit: i32 = row.try_get(0)?;
        let Some(index) = usize::try_from(commit).unwrap_or(0).checked_sub(1) else {
            position = row.try_get::<_, Option<i64>>(2)?;
            continue;
        };
        let Some((result, job)) = results.get_mut(index).zip(jobs.get(index)) else {
            continue;
        };
        let outcome: &str = row.try_get(1)?;
        if outcome == "conflict" {
            let stream = row.try_get::<_, i32>(4)?;
            *result = Some(Err(conflict(jobs, index, stream, row.try_get(5)?)));
            continue;
        }
        let earlier = CommitReceipt {
            position: Position::new(row.try_get::<_, i64>(2)?.unsigned_abs()),
            events: usize::try_from(row.try_get::<_, i32>(3)?)
                .unwrap_or(job.request.events().len()),
            repeated: outcome == "key",
        };
        *result = Some(match job.request.idempotency_key() {
            Some(key) if outcome == "reused" => Err(KeyReused::new(key, &earlier).into()),
            _ => Ok(earlier),
        });
    }
    let mut position = Position::new(position.unwrap_or(0).unsigned_abs());
    let results = results.into_iter().zip(jobs).map(|(refused, job)| {
        refused.unwrap_or_else(|| {
            let events = job.request.events().len();
            position = position.plus(u64::try_from(events).unwrap_or(u64::MAX));
            Ok(CommitReceipt {
                position,
                events,
                repeated: false,
            })
        })
    });
    Ok(results.collect())
}

/// Returns the conflict on the stream with this number, counted from 1, among those of all jobs.
fn conflict(jobs: &[Job], index: usize, stream: i32, actual: i64) -> EventStoreError {
    let before: usize = jobs
        .iter()
        .take(index)
        .map(|job| job.request.expected().len())
        .sum();
    let place = usize::try_from(stream).unwrap_or(0).checked_sub(before + 1);
    let expected = place.and_then(|place| jobs.get(index)?.request.expected().get(place));
    match expected {
        Some(expected) => VersionConflict {
            stream: expected.stream.clone(),
            expected: expected.version,
            actual: Version::new(actual.unsigned_abs()),
        }
        .into(),
        None => EventStoreError::corrupt(format!(
            "the server reported stream {stream}, which is not in the commit"
        )),
    }
}
