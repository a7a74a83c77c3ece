//! Pages of the feed, each from one snapshot and in one round trip, and the latest position.
//!
//! A page far behind the head contains its streams and types as numbers; unknown names take a
//! second round trip.

use std::{
    collections::HashMap,
    future::{Future, poll_fn},
    panic::resume_unwind,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::SystemTime,
};

use bytes::Bytes;
use tokio::{
    sync::Mutex,
    task::{JoinError, JoinHandle},
};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::postgres::{
    connection::pool::Pool,
    connection::statement::Query,
    convert::{Json, big, limit, number},
    read::interner::{self, Latest, Names},
    read::notify::Listener,
    read::page_bytes::{PageBytes, PageParams},
};
use crate::{
    Position, Version,
    event::{EventId, Metadata, RecordedEvent},
    store::{EventFilter, EventStoreError, FeedPage, MAX_PAGE_EVENTS, ReadFeedRequest, head::Head},
    stream::StreamId,
};

/// The distance from the head at which a reader is considered to be catching up, and caches names.
/// Closer to the head, the server looks up the few names that a page can have.
const FAR: u64 = 256;

/// The statements contain this limit as well.
const _: () = assert!(MAX_PAGE_EVENTS == 1024);

/// The column with the number of events that fit into the page.
const FITS: usize = 11;

pub(crate) struct Feed {
    pool: Pool,
    all: Query,
    of_stream: Query,
    of_types: Query,
    names: Query,
    latest: Query,
    bytes: PageBytes,
    head: Head,
    /// Held while a page is read: the cached names must belong to the same history as the page.
    /// Concurrent reads do not use the cache.
    known: Mutex<Names>,
    /// Held by the task that polls on behalf of all waiters.
    asking: Mutex<()>,
    listener: Listener,
}

impl Feed {
    pub(crate) fn new(pool: Pool, schema: &str, listener: Listener) -> Arc<Self> {
        const ALL: [Type; 6] = [
            Type::INT8,
            Type::INT4,
            Type::INT8,
            Type::UUID,
            Type::TIMESTAMPTZ,
            Type::INT8,
        ];
        const STREAM: [Type; 4] = [Type::INT8, Type::INT4, Type::TEXT, Type::INT8];
        const TYPES: [Type; 8] = [
            Type::INT8,
            Type::INT4,
            Type::INT8,
            Type::UUID,
            Type::TIMESTAMPTZ,
            Type::INT8,
            Type::TEXT_ARRAY,
            Type::TEXT_ARRAY,
        ];
        let query = |name, sql, types| Query::new(name, sql, types, schema);
        Arc::new(Self {
            pool,
            all: query("read_feed", include_str!("../sql/read_feed.sql"), &ALL),
            of_stream: query(
                "read_feed_of_stream",
                include_str!("../sql/read_feed_of_stream.sql"),
                &STREAM,
            ),
            of_types: query(
                "read_feed_of_types",
                include_str!("../sql/read_feed_of_types.sql"),
                &TYPES,
            ),
            names: interner::query(schema),
            latest: query("read_head", include_str!("../sql/read_head.sql"), &[]),
            bytes: PageBytes::default(),
            head: Head::default(),
            known: Mutex::default(),
            asking: Mutex::new(()),
            listener,
        })
    }

    /// Reads a page in a separate task: the caller may not poll for a while, as a slow reader does,
    /// and would otherwise keep a connection from others in the meantime.
    pub(crate) async fn fetch(
        feed: Arc<Self>,
        request: ReadFeedRequest,
    ) -> Result<FeedPage, EventStoreError> {
        ended(tokio::spawn(async move { feed.page(&request).await }).await)
    }

    async fn page(&self, request: &ReadFeedRequest) -> Result<FeedPage, EventStoreError> {
        let behind = self.head.get().get().saturating_sub(request.after.get());
        let is_named = behind < FAR || matches!(request.filter, EventFilter::Stream(_));
        if !is_named
            && let Ok(mut known) = self.known.try_lock()
            && let Some(page) = self.page_by_numbers(request, &mut known).await?
        {
            return Ok(page);
        }
        let asked = self.bytes.ask();
        let rows = self.rows(request, None, &asked).await?;
        let mut types = SharedStrings::default();
        self.read(&rows, request, &asked, |row, position| {
            let broken = |error: tokio_postgres::Error| EventStoreError::unreadable(&error);
            let stream: Option<&str> = row.try_get(2).map_err(broken)?;
            let event_type: Option<&str> = row.try_get(5).map_err(broken)?;
            let Some((stream, event_type)) = stream.zip(event_type) else {
                return Err(interner::nameless(row));
            };
            let stream = StreamId::new(stream).map_err(|error| {
                EventStoreError::corrupt(format!(
                    "the stream id of the event at position {position}: {error}"
                ))
            })?;
            Ok((stream, types.share(event_type)))
        })
    }

    /// Reads a page whose names are cached, or requested by number. Returns `None` if the server's
    /// history is not the one that the cached names belong to.
    async fn page_by_numbers(
        &self,
        request: &ReadFeedRequest,
        known: &mut Names,
    ) -> Result<Option<FeedPage>, EventStoreError> {
        let asked = self.bytes.ask();
        let rows = self.rows(request, Some(known.latest()), &asked).await?;
        if rows.is_empty() {
            *known = Names::default();
            return Ok(None);
        }
        let unknown = known.learn(&rows)?;
        if !unknown.is_empty() {
            let names = interner::ask(&self.pool, &self.names, &unknown, known.latest()).await;
            let names = names.map_err(|failure| failure.nothing_written())?;
            if !known.add(unknown, &names)? {
                *known = Names::default();
                return Ok(None);
            }
        }
        self.read(&rows, request, &asked, |row, _| known.of(row))
            .map(Some)
    }

    /// Reads the rows of a page, including the names that a reader without a cache needs.
    async fn rows(
        &self,
        request: &ReadFeedRequest,
        known: Option<Latest>,
        asked: &PageParams<'_>,
    ) -> Result<Vec<Row>, EventStoreError> {
        let (after, limit) = (big(request.after.get()), limit(request.limit));
        let bytes = asked.bytes();
        let position = known.map(|latest| latest.position);
        let Latest {
            event_id,
            recorded_at,
            ..
        } = known.unwrap_or_default();
        let rows = match &request.filter {
            EventFilter::All => {
                self.pool
                    .read(
                        &self.all,
                        &[&after, &limit, &position, &event_id, &recorded_at, &bytes],
                    )
                    .await
            }
            EventFilter::Stream(stream) => {
                let stream = stream.as_str();
                self.pool
                    .read(&self.of_stream, &[&after, &limit, &stream, &bytes])
                    .await
            }
            EventFilter::AnyOf(selectors) => {
                // PostgreSQL's texts cannot contain NUL, and it refuses a search for one.
                let has_nul = |text: Option<&str>| text.is_some_and(|text| text.contains('\0'));
                let (categories, types): (Vec<_>, Vec<_>) = selectors
                    .iter()
                    .map(|of| (of.only_category(), of.only_event_type()))
                    .filter(|(category, name)| !has_nul(*category) && !has_nul(*name))
                    .unzip();
                self.pool
                    .read(
                        &self.of_types,
                        &[
                            &after,
                            &limit,
                            &position,
                            &event_id,
                            &recorded_at,
                            &bytes,
                            &categories,
                            &types,
                        ],
                    )
                    .await
            }
        };
        asked.note(&rows);
        rows.map_err(|failure| failure.nothing_written())
    }

    fn read(
        &self,
        rows: &[Row],
        request: &ReadFeedRequest,
        asked: &PageParams<'_>,
        mut names: impl FnMut(&Row, Position) -> Result<(StreamId, Arc<str>), EventStoreError>,
    ) -> Result<FeedPage, EventStoreError> {
        let broken = |error: tokio_postgres::Error| EventStoreError::unreadable(&error);
        let head = rows.first().map(|row| row.try_get::<_, Option<i64>>(0));
        let Some(head) = head.transpose().map_err(broken)?.flatten() else {
            return Err(EventStoreError::corrupt("the sequencer has no row"));
        };
        let head = Position::new(head.unsigned_abs());
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            if let Some(position) = row.try_get::<_, Option<i64>>(1).map_err(broken)? {
                let position = Position::new(position.unsigned_abs());
                events.push(recorded(row, position, names(row, position)?)?);
            }
        }
        // This is the requested number of events, unless the page ended early because of its size
        // in bytes.
        let fits = rows.first().map(|row| row.try_get::<_, i64>(FITS));
        let fits = fits.transpose().map_err(broken)?.unwrap_or(0);
        let is_full = usize::try_from(fits).is_ok_and(|fits| events.len() >= fits);
        let scanned_to = match events.last() {
            Some(last) if is_full => last.position,
            _ => head,
        };
        if fits < i64::from(limit(request.limit)) {
            asked.was_cut(&self.pool);
        }
        self.publish(head);
        Ok(FeedPage {
            events,
            scanned_to,
            head,
        })
    }

    /// Notifies the waiters of commits made in this process.
    pub(crate) fn publish(&self, head: Position) {
        self.pool.has_seen(head);
        self.head.publish(head);
    }

    /// Wakes the waiters, which then detect that the store is closed.
    pub(crate) fn close(&self) {
        self.listener.end();
    }

    pub(crate) async fn wait(self: &Arc<Self>, after: Position) -> Result<(), EventStoreError> {
        let mut passed = pin!(self.head.passes(after));
        let mut asked = Task(tokio::spawn(self.clone().keep_asking()));
        poll_fn(|context| match passed.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => Pin::new(&mut asked.0).poll(context).map(ended),
        })
        .await
    }

    /// Polls the head on behalf of all waiters until that fails.
    async fn keep_asking(self: Arc<Self>) -> Result<(), EventStoreError> {
        let _asking = if let Ok(asking) = self.asking.try_lock() {
            asking
        } else {
            // The poll in flight may have read the head before the awaited commit.
            self.listener.nudge();
            self.asking.lock().await
        };
        let mut news = self.listener.news();
        loop {
            let feed = self.clone();
            // Runs to completion so that the connection stays reusable.
            ended(tokio::spawn(async move { feed.ask().await }).await)?;
            news.come().await;
        }
    }

    async fn ask(&self) -> Result<(), EventStoreError> {
        let rows = self.pool.read(&self.latest, &[]).await;
        let rows = rows.map_err(|failure| failure.nothing_written())?;
        let head = rows.first().map_or(Ok(0), |row| number(row, 0));
        let head = head.map_err(|error| EventStoreError::unreadable(&error))?;
        self.publish(Position::new(head));
        Ok(())
    }
}

/// Strings shared by many events of a page.
#[derive(Default)]
struct SharedStrings(HashMap<Box<str>, Arc<str>>);

impl SharedStrings {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(name) {
            return shared.clone();
        }
        let shared: Arc<str> = name.into();
        self.0.insert(name.into(), shared.clone());
        shared
    }
}

/// A task that is aborted when its handle is dropped.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Returns the result of a task. A task without a result was stopped together with its runtime.
fn ended<T>(result: Result<Result<T, EventStoreError>, JoinError>) -> Result<T, EventStoreError> {
    result.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Err(EventStoreError::Closed),
    })
}

fn recorded(
    row: &Row,
    position: Position,
    (stream, type_name): (StreamId, Arc<str>),
) -> Result<RecordedEvent, EventStoreError> {
    let broken = |error: tokio_postgres::Error| EventStoreError::unreadable(&error);
    let metadata = match row.try_get::<_, Option<Json<&[u8]>>>(8).map_err(broken)? {
        None => Metadata::default(),
        Some(text) => serde_json::from_slice(text.0).map_err(|error| {
            EventStoreError::corrupt(format!(
                "the metadata of the event at position {position}: {error}"
            ))
        })?,
    };
    Ok(RecordedEvent {
        position,
        stream,
        version: Version::new(number(row, 3).map_err(broken)?),
        event_id: EventId::from_uuid(row.try_get::<_, Uuid>(4).map_err(broken)?),
        type_name,
        recorded_at: row.try_get::<_, SystemTime>(6).map_err(broken)?,
        payload: Bytes::copy_from_slice(row.try_get::<_, Json<&[u8]>>(7).map_err(broken)?.0),
        metadata,
    })
}
