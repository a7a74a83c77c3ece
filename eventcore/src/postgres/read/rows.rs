//! The server's response to a read of streams: one row for each stream, with its events as arrays.

use std::{collections::HashSet, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::store::{
    CommitReceipt, KeyReused, MAX_PAGE_BYTES, ReadStreamsRequest, Room, Snapshot, StreamEvent,
    StreamExtent, StreamHead, StreamPage,
};
use crate::{
    Position, Version,
    event::EventId,
    postgres::{
        convert::{Json, number},
        read::interner::Latest,
        read::types::Types,
    },
};

pub(crate) struct Answer<'a> {
    /// The latest position; `None`, without rows, if the log is not the one to which the cached
    /// type names belong.
    pub(crate) head: Option<Position>,
    /// Commits that were made under the idempotency keys of requests, by request number.
    keys: Vec<Keyed<'a>>,
    streams: Vec<Stream<'a>>,
}

struct Keyed<'a> {
    request: usize,
    appended: CommitReceipt,
    fingerprint: Option<&'a [u8]>,
}

struct Stream<'a> {
    /// The number of this stream among those of all requests.
    number: usize,
    extent: StreamExtent,
    latest: Latest,
    events: Option<Events<'a>>,
    /// The end of the page if this stream has more events than were read.
    cut: Option<Position>,
}

struct Events<'a> {
    versions: Vec<i64>,
    positions: Vec<i64>,
    types: Vec<i32>,
    payloads: Vec<Json<&'a [u8]>>,
}

impl<'a> Answer<'a> {
    pub(crate) fn read(rows: &'a [Row]) -> Result<Self, tokio_postgres::Error> {
        let mut answer = Self {
            head: None,
            keys: Vec::new(),
            streams: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            answer.head = Some(Position::new(number(row, 0)?));
            if let Some(request) = row.try_get(1)? {
                let appended = CommitReceipt {
                    position: Position::new(number(row, 4)?),
                    events: usize::try_from(number(row, 3)?).unwrap_or(usize::MAX),
                    repeated: true,
                };
                answer.keys.push(Keyed {
                    request: index(request),
                    appended,
                    fingerprint: row.try_get(13)?,
                });
            } else if let Some(stream) = row.try_get(2)? {
                answer.streams.push(Stream::read(index(stream), row)?);
            }
        }
        Ok(answer)
    }

    /// Returns the latest event in this response.
    pub(crate) fn latest(&self) -> Latest {
        let latest = self.streams.iter().map(|stream| stream.latest);
        latest.fold(Latest::default(), Latest::max)
    }

    /// Returns `true` if a page ends before the requested end.
    pub(crate) fn is_cut(&self) -> bool {
        self.streams.iter().any(|stream| stream.cut.is_some())
    }

    /// Returns the types of events whose names are not known.
    pub(crate) fn unknown(&self, known: &Types) -> HashSet<i32> {
        let events = self.streams.iter().flat_map(|stream| &stream.events);
        events
            .flat_map(|events| &events.types)
            .copied()
            .filter(|number| known.name(*number).is_none())
            .collect()
    }

    /// Returns the page of each request. All types must be known.
    pub(crate) fn pages(
        self,
        requests: &[Arc<ReadStreamsRequest>],
        head: Position,
        types: &Types,
    ) -> Vec<Result<StreamPage, KeyReused>> {
        let mut firsts = Vec::with_capacity(requests.len());
        let mut pages = Vec::with_capacity(requests.len());
        let mut ends = vec![Position::new(u64::MAX); requests.len()];
        let mut first = 0;
        for request in requests {
            firsts.push(first);
            first += request.streams.len();
            pages.push(StreamPage {
                streams: vec![StreamExtent::default(); request.streams.len()],
                events: Vec::new(),
                snapshot: request.snapshot.unwrap_or(head).min(head),
                already_committed: None,
            });
        }
        for stream in self.streams {
            let next = firsts.partition_point(|first| *first <= stream.number);
            let request = next.saturating_sub(1);
            if let Some((page, first)) = pages.get_mut(request).zip(firsts.get(request)) {
                stream.add_to(page, stream.number - first, types);
            }
            if let Some((end, cut)) = ends.get_mut(request).zip(stream.cut) {
                *end = cut.min(*end);
            }
        }
        for ((page, request), end) in pages.iter_mut().zip(requests).zip(ends) {
            // Some streams may have been read beyond the end of the page.
            page.events.sort_by_key(|event| event.position);
            let mut room = Room::new(request.limit, MAX_PAGE_BYTES);
            let fits =
                |event: &&StreamEvent| event.position <= end && room.take(event.payload.len());
            let fitting = page.events.iter().take_while(fits).count();
            page.events.truncate(fitting);
        }
        let mut pages: Vec<_> = pages.into_iter().map(Ok).collect();
        for keyed in self.keys {
            let key = requests
                .get(keyed.request)
                .and_then(|request| request.idempotency_key.as_ref());
            let Some((page, key)) = pages.get_mut(keyed.request).zip(key) else {
                continue;
            };
            *page = key
                .repeats(keyed.appended, keyed.fingerprint)
                .map(|appended| StreamPage {
                    streams: Vec::new(),
                    events: Vec::new(),
                    snapshot: page.as_ref().map_or(head, |page| page.snapshot),
                    already_committed: Some(appended),
                });
        }
        pages
    }
}

/// Returns the snapshot in a row of a statement that looks for them.
fn snapshot(row: &Row) -> Result<Option<Snapshot>, tokio_postgres::Error> {
    const VERSION: usize = 14;
    if row.len() <= VERSION {
        return Ok(None);
    }
    let Some(version) = row.try_get::<_, Option<i64>>(VERSION)? else {
        return Ok(None);
    };
    let event_id = EventId::from_uuid(row.try_get(VERSION + 1)?);
    let state: Json<&[u8]> = row.try_get(VERSION + 2)?;
    Ok(Some(Snapshot {
        head: StreamHead::new(Version::new(version.unsigned_abs()), event_id),
        state: Bytes::copy_from_slice(state.0),
    }))
}

impl<'a> Stream<'a> {
    /// Reads the stream with this number, counted from 1.
    fn read(stream: usize, row: &'a Row) -> Result<Self, tokio_postgres::Error> {
        let events = row.try_get::<_, Option<_>>(7)?.map(|versions| {
            Ok(Events {
                versions,
                positions: row.try_get(8)?,
                types: row.try_get(9)?,
                payloads: row.try_get(10)?,
            })
        });
        let latest = Latest {
            position: row.try_get(4)?,
            event_id: row.try_get(5)?,
            recorded_at: row.try_get(6)?,
        };
        let version = Version::new(number(row, 3)?);
        let snapshot = snapshot(row)?;
        let after: Option<Uuid> = row.try_get(11)?;
        Ok(Self {
            number: stream.saturating_sub(1),
            extent: StreamExtent {
                head: StreamHead::new(version, EventId::from_uuid(latest.event_id)),
                // With a snapshot it is the event that this covers last.
                after: after.filter(|_| snapshot.is_none()).map(EventId::from_uuid),
                snapshot,
            },
            latest,
            events: events.transpose()?,
            cut: row
                .try_get::<_, Option<i64>>(12)?
                .map(|position| Position::new(position.unsigned_abs())),
        })
    }

    fn add_to(&self, page: &mut StreamPage, stream: usize, types: &Types) {
        if let Some(extent) = page.streams.get_mut(stream) {
            *extent = self.extent.clone();
        }
        let Some(events) = &self.events else { return };
        // A single allocation for all payloads.
        let bytes = events.payloads.iter().map(|payload| payload.0.len()).sum();
        let mut payloads = BytesMut::with_capacity(bytes);
        page.events.reserve(events.versions.len());
        let numbers = events.versions.iter().zip(&events.positions);
        let contents = events.types.iter().zip(&events.payloads);
        for ((version, position), (event_type, payload)) in numbers.zip(contents) {
            let Some(type_name) = types.name(*event_type) else {
                continue;
            };
            payloads.extend_from_slice(payload.0);
            page.events.push(StreamEvent {
                stream,
                version: Version::new(version.unsigned_abs()),
                position: Position::new(position.unsigned_abs()),
                type_name: type_name.clone(),
                payload: payloads.split().freeze(),
            });
        }
    }
}

fn index(number: i32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
