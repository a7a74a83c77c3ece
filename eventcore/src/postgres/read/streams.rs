//! Stream reads: concurrent requests are combined in one statement, which runs in one snapshot.

use std::{collections::HashSet, sync::Arc};

use tokio_postgres::{Row, types::Type};

use crate::chain::chain;
use crate::postgres::{
    connection::pool::Pool,
    connection::statement::{Parameters, Query},
    convert::{big, limit},
    error::Failure,
    read::coalesce::{Coalescer, Turn},
    read::interner::{self, Latest, Unknown},
    read::page_bytes::PageBytes,
    read::rows::Answer,
    read::snapshots,
    read::types::{KnownTypes, Types},
};
use crate::store::{EventStoreError, KeyReused, MAX_PAGE_EVENTS, ReadStreamsRequest, StreamPage};

/// The maximum number of surplus events that are read for a request instead of a search for the end
/// of its page.
const SURPLUS: usize = 512;
/// The maximum number of streams of a request that are read independently: each returns at least
/// one event, of any size.
const FEW: usize = 4;

const STREAMS: [Type; 8] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
];
const STREAMS_AND_SNAPSHOTS: [Type; 10] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
];
const PAGES: [Type; 12] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
];

const PAGES_AND_SNAPSHOTS: [Type; 14] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
];

pub(crate) struct Reader {
    pool: Pool,
    /// The statement for short requests …
    streams: Query,
    /// … and the one for all other requests.
    pages: Query,
    /// The same, for requests that look for snapshots.
    streams_and_snapshots: Query,
    pages_and_snapshots: Query,
    names: Query,
    types: KnownTypes,
    bytes: PageBytes,
    coalescer: Arc<Coalescer<ReadStreamsRequest, Result<StreamPage, EventStoreError>>>,
}

impl Reader {
    pub(crate) fn new(pool: Pool, schema: &str) -> Self {
        Self {
            pool,
            coalescer: Coalescer::new(),
            streams: Query::new(
                "read_streams",
                include_str!("../sql/read_streams.sql"),
                &STREAMS,
                schema,
            ),
            pages: Query::new(
                "read_pages",
                include_str!("../sql/read_pages.sql"),
                &PAGES,
                schema,
            ),
            streams_and_snapshots: Query::new(
                "read_streams_and_snapshots",
                &snapshots::of_streams(include_str!("../sql/read_streams.sql")),
                &STREAMS_AND_SNAPSHOTS,
                schema,
            ),
            pages_and_snapshots: Query::new(
                "read_pages_and_snapshots",
                &snapshots::of_pages(include_str!("../sql/read_pages.sql")),
                &PAGES_AND_SNAPSHOTS,
                schema,
            ),
            names: interner::query(schema),
            types: KnownTypes::default(),
            bytes: PageBytes::default(),
        }
    }

    /// Reads a page of streams.
    pub(crate) async fn page(
        &self,
        request: ReadStreamsRequest,
    ) -> Result<StreamPage, EventStoreError> {
        match self.coalescer.turn(request).await {
            Turn::Answered(page) => page,
            Turn::Ask(together) => {
                let pages = self.answers(&together.requests).await;
                let own = together.answer(pages);
                own.unwrap_or_else(|| Err(EventStoreError::corrupt("a page is missing")))
            }
        }
    }

    async fn answers(
        &self,
        requests: &[Arc<ReadStreamsRequest>],
    ) -> Vec<Result<StreamPage, EventStoreError>> {
        match self.pages(requests).await {
            Ok(pages) => pages.into_iter().map(|page| Ok(page?)).collect(),
            Err(why) => requests.iter().map(|_| Err(why.error())).collect(),
        }
    }

    /// Sends all requests in one statement, and requests unknown type names in a second one.
    async fn pages(
        &self,
        requests: &[Arc<ReadStreamsRequest>],
    ) -> Result<Vec<Result<StreamPage, KeyReused>>, ReadError> {
        // After a failover, the history may not be the one that the cached names belong to; the
        // second attempt does without them.
        let mut damaged = None;
        for known in [self.types.get(), Arc::default()] {
            let asked = self.bytes.ask();
            let rows = self.rows(requests, known.latest, asked.bytes()).await;
            asked.note(&rows);
            let rows = rows?;
            let answer = Answer::read(&rows)?;
            let Some(head) = answer.head else {
                damaged = Some("the sequencer has no row".to_owned());
                continue;
            };
            let unknown = answer.unknown(&known);
            let known = if unknown.is_empty() {
                known
            } else {
                match self.learn(&known, unknown, answer.latest()).await? {
                    Ok(known) => known,
                    Err(missing) => {
                        damaged = Some(format!("event type number {missing} has no name"));
                        continue;
                    }
                }
            };
            self.pool.has_seen(head);
            if answer.is_cut() {
                asked.was_cut(&self.pool);
            }
            return Ok(answer.pages(requests, head, &known));
        }
        Err(ReadError::Damaged(damaged.unwrap_or_default()))
    }

    /// Requests the names of types. Returns the number of a type without a name, if there is one:
    /// the row is missing, or the server's history has changed.
    async fn learn(
        &self,
        known: &Types,
        unknown: HashSet<i32>,
        latest: Latest,
    ) -> Result<Result<Arc<Types>, i32>, ReadError> {
        let (streams, types, latest) = (HashSet::new(), unknown, latest.max(known.latest));
        let unknown = Unknown { streams, types };
        let rows = interner::ask(&self.pool, &self.names, &unknown, latest).await?;
        let types = known.with(unknown.types, &rows, latest)?.map(Arc::new);
        if let Ok(types) = &types {
            self.types.set(types.clone());
        }
        Ok(types)
    }

    /// Sends all requests in one statement.
    async fn rows(
        &self,
        requests: &[Arc<ReadStreamsRequest>],
        known: Latest,
        bytes: i64,
    ) -> Result<Vec<Row>, Failure> {
        let asked = ReadParams::new(requests, bytes);
        if requests.iter().all(|request| is_short(request)) {
            let parameters: Parameters<'_> = &[
                &asked.names,
                &asked.after,
                &asked.up_to,
                &asked.limits,
                &asked.rooms,
                &known.position,
                &known.event_id,
                &known.recorded_at,
                &asked.kinds,
                &asked.revisions,
            ];
            if asked.looks_for_snapshots {
                return self
                    .pool
                    .read(&self.streams_and_snapshots, parameters)
                    .await;
            }
            let parameters = parameters.get(..STREAMS.len()).unwrap_or_default();
            return self.pool.read(&self.streams, parameters).await;
        }
        let parameters: Parameters<'_> = &[
            &asked.names,
            &asked.after,
            &asked.request,
            &asked.up_to,
            &asked.limits,
            &asked.shares,
            &bytes,
            &asked.keys,
            &asked.key_request,
            &known.position,
            &known.event_id,
            &known.recorded_at,
            &asked.kinds,
            &asked.revisions,
        ];
        if asked.looks_for_snapshots {
            return self.pool.read(&self.pages_and_snapshots, parameters).await;
        }
        let parameters = parameters.get(..PAGES.len()).unwrap_or_default();
        self.pool.read(&self.pages, parameters).await
    }
}

/// Returns `true` if each stream of the request may be read independently of the others.
fn is_short(request: &ReadStreamsRequest) -> bool {
    let streams = request.streams.len();
    let events = streams.saturating_mul(request.limit.clamp(1, MAX_PAGE_EVENTS));
    request.idempotency_key.is_none() && (streams <= 1 || streams <= FEW && events <= SURPLUS)
}

/// The parameters of both statements: a row for each stream, and one for each key.
#[derive(Default)]
struct ReadParams<'a> {
    names: Vec<&'a str>,
    after: Vec<i64>,
    request: Vec<i32>,
    up_to: Vec<i64>,
    limits: Vec<i32>,
    /// The number of events that each stream may return if the request is to be one page without a
    /// search for its end.
    shares: Vec<i64>,
    rooms: Vec<i64>,
    keys: Vec<&'a str>,
    key_request: Vec<i32>,
    /// The snapshots to look for.
    kinds: Vec<Option<&'a str>>,
    revisions: Vec<Option<i64>>,
    looks_for_snapshots: bool,
}

impl<'a> ReadParams<'a> {
    fn new(requests: &'a [Arc<ReadStreamsRequest>], bytes: i64) -> Self {
        let streams = requests.iter().map(|request| request.streams.len()).sum();
        let mut asked = Self {
            names: Vec::with_capacity(streams),
            after: Vec::with_capacity(streams),
            request: Vec::with_capacity(streams),
            up_to: Vec::with_capacity(streams),
            limits: Vec::with_capacity(streams),
            shares: Vec::with_capacity(streams),
            rooms: Vec::with_capacity(streams),
            kinds: Vec::with_capacity(streams),
            revisions: Vec::with_capacity(streams),
            ..Self::default()
        };
        for (number, request) in (0..).zip(requests) {
            asked.add(number, request, bytes);
        }
        asked
    }

    fn add(&mut self, number: i32, request: &'a ReadStreamsRequest, bytes: i64) {
        let limit = limit(request.limit);
        let streams = i64::try_from(request.streams.len().max(1)).unwrap_or(i64::MAX);
        // One stream is limited by its number of events anyway.
        let share = match streams {
            1 => i64::MAX,
            many => i64::from(limit) / many,
        };
        let bound = request
            .snapshot
            .map_or(i64::MAX, |position| big(position.get()));
        for cursor in &request.streams {
            self.names.push(cursor.stream.as_str());
            self.after.push(big(cursor.after.get()));
            self.request.push(number);
            self.up_to.push(bound);
            self.limits.push(limit);
            self.shares.push(share);
            self.rooms.push(bytes / streams);
            let kind = cursor.snapshot.as_ref();
            self.kinds.push(kind.map(|kind| &*kind.name));
            self.revisions
                .push(kind.map(|kind| i64::from(kind.revision)));
            self.looks_for_snapshots |= kind.is_some();
        }
        if let Some(key) = &request.idempotency_key {
            self.keys.push(key.as_str());
            self.key_request.push(number);
        }
    }
}

/// The error of a coalesced read, shared by all callers.
enum ReadError {
    Failed(Failure),
    Damaged(String),
}

impl ReadError {
    fn error(&self) -> EventStoreError {
        match self {
            Self::Failed(failure) => failure.nothing_written(),
            Self::Damaged(reason) => EventStoreError::corrupt(reason),
        }
    }
}

impl From<Failure> for ReadError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Converts the error of a row that does not have the columns of the statement.
impl From<tokio_postgres::Error> for ReadError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Damaged(chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StreamId, Version, postgres::convert::int, store::StreamCursor};

    fn request(streams: usize, limit: usize) -> ReadStreamsRequest {
        let cursor = |number| {
            StreamCursor::new(
                StreamId::new(format!("s-{number}")).unwrap(),
                Version::EMPTY,
            )
        };
        ReadStreamsRequest {
            streams: (0..streams).map(cursor).collect(),
            snapshot: None,
            limit,
            idempotency_key: None,
        }
    }

    #[test]
    fn short_requests_of_several_streams_read_little_beyond_their_pages() {
        let mut short = 0;
        for streams in [2, 3, 4, 5, 16, 512, 5000] {
            for limit in [0, 1, 2, 32, 128, 512, 1024, usize::MAX] {
                let requests = [Arc::new(request(streams, limit))];
                if is_short(&requests[0]) {
                    let limits = ReadParams::new(&requests, 1).limits;
                    let events: i32 = limits.iter().sum();
                    assert!(events <= int(SURPLUS), "{streams} streams, {limit}");
                    short += 1;
                }
            }
        }
        assert!(short >= 10);
    }
}
