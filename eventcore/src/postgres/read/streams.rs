//! Reads: what many tasks ask at once travels in one statement, and is answered from one snapshot.

use std::{collections::HashSet, slice, sync::Arc};

use tokio_postgres::{Row, types::Type};

use crate::postgres::{
    connection::pool::Pool,
    connection::statement::{Parameters, Query},
    convert::{big, int},
    error::{Failure, corrupt},
    read::coalesce::{Gather, Turn},
    read::interner::{self, Latest, Unknown},
    read::rows::Answer,
    read::types::{KnownTypes, Types},
};
use crate::{
    event::MAX_EVENT_BYTES,
    store::{EventStoreError, MAX_PAGE_EVENTS, ReadStreams, StreamsPage},
};

/// So many events always fit into one value of the server's, which is of less than 1 GiB.
const FIT: usize = 100;
const _: () = assert!(FIT * MAX_EVENT_BYTES < 1000 * 1024 * 1024);
/// The most events that are read for a request beyond its page rather than to look for where the page ends.
const SURPLUS: usize = 512;

const STREAMS: [Type; 7] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
];
const PAGES: [Type; 11] = [
    Type::TEXT_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8_ARRAY,
    Type::TEXT_ARRAY,
    Type::INT4_ARRAY,
    Type::INT8,
    Type::UUID,
    Type::TIMESTAMPTZ,
];

pub(crate) struct Reader {
    pool: Pool,
    /// Short streams …
    streams: Query,
    /// … and whatever else is asked of streams.
    pages: Query,
    names: Query,
    types: KnownTypes,
    gather: Arc<Gather<ReadStreams, Result<StreamsPage, EventStoreError>>>,
}

impl Reader {
    pub(crate) fn new(pool: Pool, schema: &str) -> Self {
        Self {
            pool,
            gather: Gather::new(),
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
            names: interner::query(schema),
            types: KnownTypes::default(),
        }
    }

    /// A page of streams.
    pub(crate) async fn page(&self, request: ReadStreams) -> Result<StreamsPage, EventStoreError> {
        match self.gather.turn(request).await {
            Turn::Answered(page) => page,
            Turn::Ask(together) => {
                let pages = self.answers(&together.requests).await;
                let own = together.answer(pages);
                own.unwrap_or_else(|| Err(corrupt("a page is missing")))
            }
        }
    }

    async fn answers(
        &self,
        requests: &[Arc<ReadStreams>],
    ) -> Vec<Result<StreamsPage, EventStoreError>> {
        match self.pages(requests, MAX_PAGE_EVENTS).await {
            Ok(pages) => pages.into_iter().map(Ok).collect(),
            Err(why) if why.is_too_large() => self.small_answers(requests).await,
            Err(why) => requests.iter().map(|_| Err(why.error())).collect(),
        }
    }

    /// Pages that are sure to fit, each in an answer of its own.
    async fn small_answers(
        &self,
        requests: &[Arc<ReadStreams>],
    ) -> Vec<Result<StreamsPage, EventStoreError>> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let pages = self.pages(slice::from_ref(request), FIT).await;
            answers.push(match pages.map(|mut pages| pages.pop()) {
                Ok(page) => page.ok_or_else(|| corrupt("a page is missing")),
                Err(why) => Err(why.error()),
            });
        }
        answers
    }

    /// Asks for all of them in one statement, and in a second one for the names of types that are not known yet.
    async fn pages(
        &self,
        requests: &[Arc<ReadStreams>],
        most: usize,
    ) -> Result<Vec<StreamsPage>, Unread> {
        // A server that took over may have another history than the one that the names are known from: then without them.
        let mut damaged = None;
        for known in [self.types.get(), Arc::default()] {
            let rows = self.rows(requests, most, known.latest).await?;
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
            return Ok(answer.pages(requests, most, head, &known));
        }
        Err(Unread::Damaged(damaged.unwrap_or_default()))
    }

    /// Learns the names of types; or says which is missing, because it has none, or the server has another history now.
    async fn learn(
        &self,
        known: &Types,
        unknown: HashSet<i32>,
        latest: Latest,
    ) -> Result<Result<Arc<Types>, i32>, Unread> {
        let (streams, types, latest) = (HashSet::new(), unknown, latest.max(known.latest));
        let unknown = Unknown { streams, types };
        let rows = interner::ask(&self.pool, &self.names, &unknown, latest).await?;
        let types = known.with(unknown.types, &rows, latest)?.map(Arc::new);
        if let Ok(types) = &types {
            self.types.set(types.clone());
        }
        Ok(types)
    }

    /// Asks for all of them in one statement.
    async fn rows(
        &self,
        requests: &[Arc<ReadStreams>],
        most: usize,
        known: Latest,
    ) -> Result<Vec<Row>, Failure> {
        let asked = Asked::new(requests, most);
        if requests.iter().all(|request| is_short(request, most)) {
            let parameters: Parameters<'_> = &[
                &asked.names,
                &asked.after,
                &asked.up_to,
                &asked.limits,
                &known.position,
                &known.event_id,
                &known.recorded_at,
            ];
            return self.pool.read(&self.streams, parameters).await;
        }
        let parameters: Parameters<'_> = &[
            &asked.names,
            &asked.after,
            &asked.request,
            &asked.up_to,
            &asked.limits,
            &asked.shares,
            &asked.keys,
            &asked.key_request,
            &known.position,
            &known.event_id,
            &known.recorded_at,
        ];
        self.pool.read(&self.pages, parameters).await
    }
}

/// Whether each of its streams may be read without a look at the others.
fn is_short(request: &ReadStreams, most: usize) -> bool {
    let streams = request.streams.len();
    let events = streams.saturating_mul(request.limit.clamp(1, most));
    request.idempotency_key.is_none() && (streams <= 1 || events <= most.min(SURPLUS))
}

/// The parameters of both statements: a row for each stream, and one for each key.
#[derive(Default)]
struct Asked<'a> {
    names: Vec<&'a str>,
    after: Vec<i64>,
    request: Vec<i32>,
    up_to: Vec<i64>,
    limits: Vec<i32>,
    shares: Vec<i64>,
    keys: Vec<&'a str>,
    key_request: Vec<i32>,
}

impl<'a> Asked<'a> {
    fn new(requests: &'a [Arc<ReadStreams>], most: usize) -> Self {
        let streams = requests.iter().map(|request| request.streams.len()).sum();
        let mut asked = Self {
            names: Vec::with_capacity(streams),
            after: Vec::with_capacity(streams),
            request: Vec::with_capacity(streams),
            up_to: Vec::with_capacity(streams),
            limits: Vec::with_capacity(streams),
            shares: Vec::with_capacity(streams),
            ..Self::default()
        };
        for (number, request) in (0..).zip(requests) {
            asked.add(number, request, most);
        }
        asked
    }

    fn add(&mut self, number: i32, request: &'a ReadStreams, most: usize) {
        let limit = int(request.limit.clamp(1, most));
        // If no stream has more than that, they are a page together.
        let share = match request.streams.len() {
            0 | 1 => i64::MAX,
            many => i64::from(limit) / i64::try_from(many).unwrap_or(i64::MAX),
        };
        let bound = request
            .up_to
            .map_or(i64::MAX, |position| big(position.get()));
        for cursor in &request.streams {
            self.names.push(cursor.stream.as_str());
            self.after.push(big(cursor.after.get()));
            self.request.push(number);
            self.up_to.push(bound);
            self.limits.push(limit);
            self.shares.push(share);
        }
        if let Some(key) = &request.idempotency_key {
            self.keys.push(key.as_str());
            self.key_request.push(number);
        }
    }
}

/// Why there are no pages. All who asked share it.
enum Unread {
    Failed(Failure),
    Damaged(String),
}

impl Unread {
    fn is_too_large(&self) -> bool {
        matches!(self, Self::Failed(failure) if failure.is_too_large())
    }

    fn error(&self) -> EventStoreError {
        match self {
            Self::Failed(failure) => failure.nothing_written(),
            Self::Damaged(reason) => corrupt(reason),
        }
    }
}

impl From<Failure> for Unread {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A row that is not what the statement gives.
impl From<tokio_postgres::Error> for Unread {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StreamId, Version, store::StreamCursor};

    fn request(streams: usize, limit: usize) -> ReadStreams {
        let cursor = |number| StreamCursor {
            stream: StreamId::new(format!("s-{number}")).unwrap(),
            after: Version::EMPTY,
        };
        ReadStreams {
            streams: (0..streams).map(cursor).collect(),
            up_to: None,
            limit,
            idempotency_key: None,
        }
    }

    #[test]
    fn short_requests_of_several_streams_read_little_beyond_their_pages() {
        let mut short = 0;
        for streams in [2, 4, 16, 100, 101, 512, 513, 5000] {
            for limit in [0, 1, 2, 32, 128, 512, 1024, usize::MAX] {
                for most in [FIT, MAX_PAGE_EVENTS] {
                    let requests = [Arc::new(request(streams, limit))];
                    if is_short(&requests[0], most) {
                        let limits = Asked::new(&requests, most).limits;
                        let events: i32 = limits.iter().sum();
                        assert!(
                            events <= int(most.min(SURPLUS)),
                            "{streams} streams, {limit}"
                        );
                        short += 1;
                    }
                }
            }
        }
        assert!(short > 20);
    }
}
