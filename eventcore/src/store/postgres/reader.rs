//! Reads: what many tasks ask at once travels in one statement, and is answered from one snapshot.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use tokio_postgres::{
    Row,
    types::{FromSql, Type},
};

use super::{
    error::{Failure, corrupt},
    gather::{Gather, Turn},
    pool::{Parameters, Pool, Query},
    writer::big,
};
use crate::store::{
    Appended, EventStoreError, MAX_PAGE_EVENTS, Position, ReadStreams, StreamEvent, StreamsPage,
    Version,
};

pub(super) struct Reader {
    pool: Pool,
    streams: Query,
    gather: Arc<Gather<ReadStreams, Result<StreamsPage, EventStoreError>>>,
}

impl Reader {
    pub(super) fn new(pool: Pool, schema: &str) -> Self {
        const STREAMS: [Type; 7] = [
            Type::TEXT_ARRAY,
            Type::INT8_ARRAY,
            Type::INT4_ARRAY,
            Type::INT8_ARRAY,
            Type::INT4_ARRAY,
            Type::TEXT_ARRAY,
            Type::INT4_ARRAY,
        ];
        Self {
            pool,
            gather: Gather::new(),
            streams: Query::new(
                "read_streams",
                include_str!("sql/read_streams.sql"),
                &STREAMS,
                schema,
            ),
        }
    }

    /// A page of streams.
    pub(super) async fn page(&self, request: ReadStreams) -> Result<StreamsPage, EventStoreError> {
        match self.gather.turn(request).await {
            Turn::Answered(page) => page,
            Turn::Ask(together) => {
                let pages = self.pages(&together.requests).await;
                let own = together.answer(pages);
                own.unwrap_or_else(|| Err(corrupt("a page is missing")))
            }
        }
    }

    async fn pages(
        &self,
        requests: &[Arc<ReadStreams>],
    ) -> Vec<Result<StreamsPage, EventStoreError>> {
        match self.rows(requests).await {
            Ok(rows) => match pages(requests, &rows) {
                Ok(pages) => {
                    if let Some(head) = pages.iter().map(|page| page.snapshot).max() {
                        self.pool.has_seen(head);
                    }
                    pages.into_iter().map(Ok).collect()
                }
                Err(broken) => requests
                    .iter()
                    .map(|_| Err(corrupt(broken.to_string())))
                    .collect(),
            },
            Err(failure) => {
                let failed = |_| Err(failure.nothing_written());
                requests.iter().map(failed).collect()
            }
        }
    }

    /// Asks for all of them in one statement.
    async fn rows(&self, requests: &[Arc<ReadStreams>]) -> Result<Vec<Row>, Failure> {
        let streams: usize = requests.iter().map(|request| request.streams.len()).sum();
        let mut names = Vec::with_capacity(streams);
        let mut after = Vec::with_capacity(streams);
        let mut number = Vec::with_capacity(streams);
        let mut up_to = Vec::with_capacity(streams);
        let mut most = Vec::with_capacity(streams);
        let (mut keys, mut key_request) = (Vec::new(), Vec::new());
        for (request_number, request) in (0_i32..).zip(requests) {
            let limit = limit(request.limit);
            let bound = request
                .up_to
                .map_or(i64::MAX, |position| big(position.get()));
            for cursor in &request.streams {
                names.push(cursor.stream.as_str());
                after.push(big(cursor.after.get()));
                number.push(request_number);
                up_to.push(bound);
                most.push(limit);
            }
            if let Some(key) = &request.idempotency_key {
                keys.push(key.as_str());
                key_request.push(request_number);
            }
        }
        let parameters: Parameters<'_> =
            &[&names, &after, &number, &up_to, &most, &keys, &key_request];
        self.pool.read(&self.streams, parameters).await
    }
}

/// Strings that many events of a page share.
#[derive(Default)]
pub(super) struct SharedStrings(HashMap<Box<str>, Arc<str>>);

impl SharedStrings {
    pub(super) fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(name) {
            return shared.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

pub(super) fn limit(asked: usize) -> i32 {
    i32::try_from(asked.clamp(1, MAX_PAGE_EVENTS)).unwrap_or(i32::MAX)
}

fn pages(
    requests: &[Arc<ReadStreams>],
    rows: &[Row],
) -> Result<Vec<StreamsPage>, tokio_postgres::Error> {
    let mut starts = Vec::with_capacity(requests.len());
    let mut start = 0;
    let mut pages: Vec<StreamsPage> = requests
        .iter()
        .map(|request| {
            starts.push(start);
            start += request.streams.len();
            StreamsPage {
                versions: vec![Version::EMPTY; request.streams.len()],
                events: Vec::new(),
                snapshot: Position::START,
                already_committed: None,
            }
        })
        .collect();
    let mut names = SharedStrings::default();
    for row in rows {
        let kind: &str = row.try_get(0)?;
        if kind == "head" {
            let head = Position::new(number(row, 4)?);
            for (page, request) in pages.iter_mut().zip(requests) {
                page.snapshot = request.up_to.unwrap_or(head).min(head);
            }
            continue;
        }
        let request = usize::try_from(row.try_get::<_, i32>(1)?).unwrap_or(usize::MAX);
        let Some((page, start)) = pages.get_mut(request).zip(starts.get(request)) else {
            continue;
        };
        if kind == "key" {
            page.already_committed = Some(Appended {
                position: Position::new(number(row, 4)?),
                events: usize::try_from(number(row, 3)?).unwrap_or(usize::MAX),
                repeated: true,
            });
            continue;
        }
        let place = usize::try_from(row.try_get::<_, i32>(2)?).unwrap_or(0);
        let Some(stream) = place.checked_sub(start + 1) else {
            continue;
        };
        let version = Version::new(number(row, 3)?);
        if kind == "version" {
            if let Some(place) = page.versions.get_mut(stream) {
                *place = version;
            }
            continue;
        }
        page.events.push(StreamEvent {
            stream,
            version,
            position: Position::new(number(row, 4)?),
            type_name: names.share(row.try_get(5)?),
            payload: Bytes::copy_from_slice(row.try_get::<_, Raw<'_>>(6)?.0),
        });
    }
    for page in &mut pages {
        if page.already_committed.is_some() {
            page.versions.clear();
            page.events.clear();
        }
        if !page.events.is_sorted_by_key(|event| event.position) {
            page.events.sort_by_key(|event| event.position);
        }
    }
    Ok(pages)
}

pub(super) fn number(row: &Row, column: usize) -> Result<u64, tokio_postgres::Error> {
    row.try_get::<_, i64>(column).map(i64::unsigned_abs)
}

/// JSON as it is stored, byte for byte.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSON
    }
}
