//! Pages of large events: bounded in bytes, and complete when combined.

use super::{event, expect, request, stream};
use crate::{
    EventFilter, EventSelector, EventStore, MAX_EVENT_BYTES, Position, StreamId, Version,
    store::{MAX_PAGE_BYTES, MAX_PAGE_EVENTS, ReadFeedRequest, ReadStreamsRequest, StreamCursor},
};

/// The number of small events that come first, alternating between three streams. Their size does
/// not predict the size of later events.
const SMALL: u64 = 300;

/// The sizes of the payloads that follow, one event each, alternating between the streams.
const LARGE: [usize; 9] = [
    MAX_PAGE_BYTES / 3,
    MAX_PAGE_BYTES / 3,
    MAX_PAGE_BYTES / 3,
    MAX_EVENT_BYTES,
    MAX_PAGE_BYTES / 5,
    20,
    MAX_PAGE_BYTES / 5,
    MAX_EVENT_BYTES,
    MAX_PAGE_BYTES / 5,
];

fn payload(bytes: usize) -> String {
    format!("\"{}\"", "x".repeat(bytes - 2))
}

/// Panics if a page of more than one event exceeds the size limit.
fn check_size(sizes: impl ExactSizeIterator<Item = usize>) {
    let events = sizes.len();
    let bytes: usize = sizes.sum();
    assert!(
        bytes <= MAX_PAGE_BYTES || events == 1,
        "a page of {events} events has {bytes} bytes of payload"
    );
}

/// Checks that no page exceeds [`MAX_PAGE_BYTES`] unless it is a single event, and that no event is
/// skipped.
pub async fn pages_are_bounded_by_their_bytes(store: impl EventStore) {
    let ids = [stream("a"), stream("b"), stream("c")];
    let small = [0, 1, 2].repeat(100).into_iter();
    let small = small.map(|stream| event(stream, "1")).collect();
    let expected = ids.iter().map(|id| expect(id, 0)).collect();
    store.append(request(expected, small)).await.unwrap();
    for (number, bytes) in LARGE.into_iter().enumerate() {
        let version = SMALL / 3 + number as u64 / 3;
        let event = vec![event(0, &payload(bytes))];
        let expected = vec![expect(&ids[number % 3], version)];
        store.append(request(expected, event)).await.unwrap();
    }
    let last = SMALL + LARGE.len() as u64;
    let size = |position: u64| match position.checked_sub(SMALL + 1) {
        Some(large) => LARGE[usize::try_from(large).unwrap()],
        None => 1,
    };
    let missing: Vec<_> = (0..10).map(|n| stream(format!("none-{n}"))).collect();
    let everything: Vec<_> = ids.iter().chain(&missing).collect();
    let [a, b, c] = &ids;
    // Covers limits for which a store may read streams one by one, or must find the end of the page
    // first.
    for limit in [1, 2, 128, MAX_PAGE_EVENTS] {
        for streams in [&[a][..], &[b, a], &[a, b, c], &everything] {
            if limit > 2 || streams.len() == 3 {
                check_streams(&store, streams, limit, last, size).await;
            }
        }
    }
    let all = EventFilter::All;
    let of_stream = EventFilter::Stream(b.clone());
    let selected = EventFilter::any_of([EventSelector::category("contract")]);
    for limit in [2, MAX_PAGE_EVENTS] {
        check_feed(&store, &all, limit, 1..=last, size).await;
        check_feed(&store, &selected, limit, 1..=last, size).await;
        let second = (1..=last).filter(|position| position % 3 == 2);
        check_feed(&store, &of_stream, limit, second, size).await;
    }
}

/// Reads streams to their ends from one snapshot, and checks the pages. Streams after the first
/// three have no events.
async fn check_streams(
    store: &impl EventStore,
    streams: &[&StreamId],
    limit: usize,
    last: u64,
    size: impl Fn(u64) -> usize,
) {
    let mut cursors: Vec<_> = streams
        .iter()
        .map(|stream| StreamCursor::new((*stream).clone(), Version::EMPTY))
        .collect();
    let mut positions = Vec::new();
    let mut up_to = None;
    loop {
        let request = ReadStreamsRequest {
            streams: cursors.clone(),
            snapshot: up_to,
            limit,
            idempotency_key: None,
        };
        let page = store.read_streams(request).await.unwrap();
        up_to = Some(page.snapshot);
        check_size(page.events.iter().map(|event| event.payload.len()));
        for event in &page.events {
            let cursor = &mut cursors[event.stream];
            assert_eq!(
                event.version,
                cursor.after.plus(1),
                "an event was passed over"
            );
            cursor.after = event.version;
            let position = event.position.get();
            assert_eq!(event.payload.len(), size(position), "the wrong payload");
            positions.push(position);
        }
        let read = cursors.iter().map(|cursor| cursor.after);
        if read.eq(page.versions()) {
            break;
        }
        assert!(
            !page.events.is_empty(),
            "a page is empty, and there are more"
        );
    }
    assert!(positions.is_sorted(), "events are not in commit order");
    let expected = last * streams.len().min(3) as u64 / 3;
    assert_eq!(positions.len() as u64, expected, "events are missing");
}

async fn check_feed(
    store: &impl EventStore,
    filter: &EventFilter,
    limit: usize,
    expected: impl Iterator<Item = u64>,
    size: impl Fn(u64) -> usize,
) {
    let mut after = Position::START;
    let mut positions = Vec::new();
    loop {
        let request = ReadFeedRequest {
            after,
            filter: filter.clone(),
            limit,
        };
        let page = store.read_feed(request).await.unwrap();
        check_size(page.events.iter().map(|event| event.payload.len()));
        for event in &page.events {
            assert!(event.position > after && event.position <= page.scanned_to);
            let position = event.position.get();
            assert_eq!(event.payload.len(), size(position), "the wrong payload");
            positions.push(position);
        }
        assert!(
            page.scanned_to <= page.head,
            "the page ends after the store's latest event"
        );
        if page.scanned_to == page.head {
            break;
        }
        assert!(page.scanned_to > after, "the feed does not go on");
        after = page.scanned_to;
    }
    assert!(
        positions.into_iter().eq(expected),
        "events are missing: {filter:?}"
    );
}
