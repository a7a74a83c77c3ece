//! Group commit: one task sends what is queued, all of it in one statement and one round trip.
//!
//! The statement calls the function `append` (`sql/schema_1.sql`), which locks the sequencer, checks, and inserts. The
//! lock lives from there to the commit of the statement, inside the server. While one batch is under way the next one
//! gathers; a commit that comes alone is sent at once.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use crate::store::{AppendEvents, Appended, EventStoreError, IdempotencyKey, VersionConflict};
use crate::{
    Position, Version,
    event::EventId,
    postgres::{
        connection::pool::Pool,
        connection::statement::Query,
        convert::{Json, big, int},
        error::{Failure, corrupt},
        read::feed::Feed,
        read::notify::Announcer,
        write::batch::{Job, Waiting},
    },
};

/// The most commits that are taken out of the queue at a time.
const TAKE: usize = 4096;

const APPEND: &str =
    "SELECT commit, outcome, position, events, stream, actual FROM eventcore.append(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";

const TYPES: [Type; 17] = [
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::UUID_ARRAY,
    Type::UUID_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::JSON_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::UUID_ARRAY,
    Type::JSON_ARRAY,
];

pub(crate) enum Message {
    Append(Job),
    /// Finish what is queued and end. The sender is dropped then.
    Close(oneshot::Sender<()>),
}

pub(crate) struct Writer {
    pool: Pool,
    append: Query,
    /// Where those of this process wait for what is committed …
    feed: Arc<Feed>,
    /// … and how others hear of it.
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

    /// Runs until the store is closed, or its last handle dropped, and the queue is empty.
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
                if let Ok(Appended {
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

    /// Makes a batch, and where one of its commits may have broken it, each commit by itself.
    async fn commit(&self, jobs: Vec<Job>) -> Vec<(Job, Result<Appended, EventStoreError>)> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let sent = match self.send(&jobs).await {
            Err(Sent::Yes(failure)) if failure.may_be_one_commit() && jobs.len() > 1 => {
                let mut results = Vec::with_capacity(jobs.len());
                for job in jobs {
                    let result = match self.send(std::slice::from_ref(&job)).await {
                        Ok(mut one) => one
                            .pop()
                            .unwrap_or_else(|| Err(corrupt("a commit has no result"))),
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

    async fn send(&self, jobs: &[Job]) -> Result<Vec<Result<Appended, EventStoreError>>, Sent> {
        let mut connection = self.pool.get().await.map_err(Sent::No)?;
        connection.prepare(&self.append).await.map_err(Sent::No)?;
        let arrays = match Arrays::new(jobs) {
            Ok(arrays) => arrays,
            Err(error) => return Ok(jobs.iter().map(|_| Err(other(&error))).collect()),
        };
        let rows = connection
            .query(&self.append, &arrays.parameters())
            .await
            .map_err(Sent::Yes)?;
        results(jobs, &rows).map_err(Sent::Yes)
    }
}

fn other(error: &serde_json::Error) -> EventStoreError {
    EventStoreError::Other {
        source: error.to_string().into(),
    }
}

/// How far a batch came that failed.
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

/// The arguments of `append`, by its own names.
struct Arrays<'a> {
    streams: Vec<&'a str>,
    stream_commit: Vec<i32>,
    expected: Vec<i64>,
    expected_id: Vec<Option<Uuid>>,
    commit_id: Vec<Uuid>,
    commit_events: Vec<i32>,
    commit_first: Vec<Option<i32>>,
    commit_key: Option<Vec<Option<&'a str>>>,
    commit_meta: Option<Vec<Option<Json<Vec<u8>>>>>,
    type_category: Vec<&'a str>,
    type_name: Vec<&'a str>,
    event_commit: Vec<i32>,
    event_stream: Vec<i32>,
    event_version: Vec<i64>,
    event_type: Vec<i32>,
    event_id: Vec<Uuid>,
    event_payload: Vec<Json<&'a [u8]>>,
}

impl<'a> Arrays<'a> {
    fn new(jobs: &'a [Job]) -> Result<Self, serde_json::Error> {
        let requests = || jobs.iter().map(|job| &job.request);
        let keyed = requests().any(|request| request.idempotency_key().is_some());
        let with_metadata = requests().any(|request| !request.metadata().is_empty());
        let streams = requests().map(|request| request.expected().len()).sum();
        let events = requests().map(|request| request.events().len()).sum();
        let mut arrays = Self {
            streams: Vec::with_capacity(streams),
            stream_commit: Vec::with_capacity(streams),
            expected: Vec::with_capacity(streams),
            expected_id: Vec::with_capacity(streams),
            commit_id: Vec::with_capacity(jobs.len()),
            commit_events: Vec::with_capacity(jobs.len()),
            commit_first: Vec::with_capacity(jobs.len()),
            commit_key: keyed.then(|| {
                requests()
                    .map(|request| request.idempotency_key().map(IdempotencyKey::as_str))
                    .collect()
            }),
            commit_meta: with_metadata
                .then(|| requests().map(metadata).collect())
                .transpose()?,
            type_category: Vec::new(),
            type_name: Vec::new(),
            event_commit: Vec::with_capacity(events),
            event_stream: Vec::with_capacity(events),
            event_version: Vec::with_capacity(events),
            event_type: Vec::with_capacity(events),
            event_id: Vec::with_capacity(events),
            event_payload: Vec::with_capacity(events),
        };
        let mut types = std::collections::HashMap::new();
        for request in requests() {
            arrays.add(request, &mut types);
        }
        Ok(arrays)
    }

    fn add(
        &mut self,
        request: &'a AppendEvents,
        types: &mut std::collections::HashMap<(&'a str, &'a str), i32>,
    ) {
        let commit = int(self.commit_id.len() + 1);
        let first_stream = self.streams.len() + 1;
        for expected in request.expected() {
            self.streams.push(expected.stream.as_str());
            self.stream_commit.push(commit);
            self.expected.push(big(expected.version.get()));
            self.expected_id
                .push(expected.event_id.map(EventId::as_uuid));
        }
        self.commit_id.push(request.commit_id().as_uuid());
        self.commit_events.push(int(request.events().len()));
        let first = (!request.events().is_empty()).then(|| int(self.event_id.len() + 1));
        self.commit_first.push(first);
        let mut appended = vec![0_u64; request.expected().len()];
        for (index, event) in request.events().iter().enumerate() {
            let Some((target, appended)) = request
                .expected()
                .get(event.stream)
                .zip(appended.get_mut(event.stream))
            else {
                continue; // `AppendEvents` has checked it.
            };
            *appended += 1;
            let name = (target.stream.category(), event.type_name);
            let event_type = *types.entry(name).or_insert_with(|| {
                self.type_category.push(name.0);
                self.type_name.push(name.1);
                int(self.type_name.len())
            });
            self.event_commit.push(commit);
            self.event_stream.push(int(first_stream + event.stream));
            self.event_version
                .push(big(target.version.plus(*appended).get()));
            self.event_type.push(event_type);
            self.event_id.push(request.event_id(index).as_uuid());
            self.event_payload.push(Json(&event.payload));
        }
    }

    fn parameters(&self) -> [&(dyn ToSql + Sync); 17] {
        [
            &self.streams,
            &self.stream_commit,
            &self.expected,
            &self.expected_id,
            &self.commit_id,
            &self.commit_events,
            &self.commit_first,
            &self.commit_key,
            &self.commit_meta,
            &self.type_category,
            &self.type_name,
            &self.event_commit,
            &self.event_stream,
            &self.event_version,
            &self.event_type,
            &self.event_id,
            &self.event_payload,
        ]
    }
}

fn metadata(request: &AppendEvents) -> Result<Option<Json<Vec<u8>>>, serde_json::Error> {
    if request.metadata().is_empty() {
        return Ok(None);
    }
    serde_json::to_vec(request.metadata()).map(|text| Some(Json(text)))
}

/// What became of each commit.
fn results(jobs: &[Job], rows: &[Row]) -> Result<Vec<Result<Appended, EventStoreError>>, Failure> {
    let mut position = None;
    let mut results: Vec<Option<Result<Appended, EventStoreError>>> =
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
        *result = Some(if outcome == "conflict" {
            let stream = row.try_get::<_, i32>(4)?;
            Err(conflict(jobs, index, stream, row.try_get(5)?))
        } else {
            Ok(Appended {
                position: Position::new(row.try_get::<_, i64>(2)?.unsigned_abs()),
                events: usize::try_from(row.try_get::<_, i32>(3)?)
                    .unwrap_or(job.request.events().len()),
                repeated: outcome == "key",
            })
        });
    }
    let mut position = Position::new(position.unwrap_or(0).unsigned_abs());
    let results = results.into_iter().zip(jobs).map(|(refused, job)| {
        refused.unwrap_or_else(|| {
            let events = job.request.events().len();
            position = position.plus(u64::try_from(events).unwrap_or(u64::MAX));
            Ok(Appended {
                position,
                events,
                repeated: false,
            })
        })
    });
    Ok(results.collect())
}

/// The conflict on the stream with this number, from 1, among those of all jobs.
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
        None => corrupt(format!(
            "the server names stream {stream}, which the commit does not"
        )),
    }
}
