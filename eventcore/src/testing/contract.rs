//! The contract that every store must fulfill, as a suite of checks for store implementations.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "checks fail by panicking"
)]

mod characters;
mod large;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, SystemTime},
};

use crate::{
    CommitId, EventFilter, EventId, EventSelector, EventStore, EventStoreError, IdempotencyKey,
    KeyReused, MAX_TYPE_NAME_BYTES, Metadata, Position, RecordedEvent, StreamId, Version,
    VersionConflict,
    store::{
        AppendError, AppendRequest, CommitReceipt, ExpectedVersion, MAX_COMMIT_BYTES,
        MAX_COMMIT_EVENTS, MAX_COMMIT_STREAMS, MAX_PAGE_EVENTS, NewEvent, ReadFeedRequest,
        ReadStreamsRequest, StreamCursor, StreamHead, StreamPage,
    },
};

pub use characters::filters_with_strange_characters_select_nothing;
pub use large::pages_are_bounded_by_their_bytes;

/// Generates a `#[tokio::test]` for each check of the contract, each with its own store.
///
/// The argument is an expression for a future that returns a new, empty store:
/// `contract_tests!(async { MyStore::new() })`. The calling crate needs `tokio` with the features
/// `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! contract_tests {
    ($store:expr) => {
        $crate::contract_tests!($store;
            events_come_back_as_they_were_appended
            versions_and_positions_are_dense
            a_page_of_several_streams_is_in_commit_order
            a_conflict_names_the_stream_and_writes_nothing
            streams_that_are_only_read_are_checked_too
            pages_name_the_last_event_of_each_stream
            another_event_at_the_expected_version_is_a_conflict
            commits_of_a_replaced_history_fail_among_many
            a_repeated_commit_is_made_once
            a_repeated_commit_with_a_key_is_its_own
            an_idempotency_key_commits_once
            a_key_of_another_request_is_refused
            a_key_or_commit_used_by_many_at_once_commits_once
            pages_follow_one_another_in_one_snapshot
            pages_are_bounded_by_their_bytes
            a_snapshot_hides_what_came_later
            reads_made_at_once_get_each_its_own_page
            the_log_is_read_on_from_a_position
            a_feed_is_filtered_by_category_and_type
            filters_with_strange_characters_select_nothing
            waiting_ends_when_an_event_is_there
            many_writers_lose_nothing
            a_reader_never_sees_a_hole
            a_page_never_shows_half_a_commit
            a_dropped_append_is_whole_or_absent
            the_largest_numbers_do_no_harm
            payloads_that_nobody_could_read_are_refused
            names_that_no_store_could_keep_are_refused
            unusual_names_and_payloads_come_back_as_they_were
            metadata_over_the_limits_is_refused
            commits_over_the_limits_are_refused
        );
    };
    ($store:expr; $($check:ident)*) => {$(
        #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            $crate::testing::contract::$check($store.await).await;
        }
    )*};
}

fn stream(key: impl std::fmt::Display) -> StreamId {
    StreamId::new(format!("contract-{key}")).unwrap()
}

fn expect(stream: &StreamId, version: u64) -> ExpectedVersion {
    ExpectedVersion {
        stream: stream.clone(),
        version: Version::new(version),
        event_id: None,
    }
}

/// Returns an expectation of the event with this id at this version.
fn expect_event(stream: &StreamId, version: u64, event_id: EventId) -> ExpectedVersion {
    ExpectedVersion::new(
        stream.clone(),
        StreamHead::new(Version::new(version), event_id),
    )
}

fn event(stream: usize, payload: &str) -> NewEvent {
    NewEvent {
        stream,
        type_name: "Noted",
        payload: payload.to_owned().into(),
    }
}

fn request(expected: Vec<ExpectedVersion>, events: Vec<NewEvent>) -> AppendRequest {
    AppendRequest::new(
        CommitId::generate(),
        expected,
        events,
        Metadata::default(),
        None,
    )
    .unwrap()
}

async fn read(
    store: &impl EventStore,
    streams: &[(&StreamId, u64)],
    up_to: Option<Position>,
    limit: usize,
) -> StreamPage {
    let cursor = |(stream, after): &(&StreamId, u64)| {
        StreamCursor::new((*stream).clone(), Version::new(*after))
    };
    let streams = streams.iter().map(cursor).collect();
    store
        .read_streams(ReadStreamsRequest {
            streams,
            snapshot: up_to,
            limit,
            idempotency_key: None,
        })
        .await
        .unwrap()
}

/// Reads the whole log, page by page, and checks that its positions are 1 to n.
async fn log(store: &impl EventStore) -> Vec<RecordedEvent> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    loop {
        let after = log.last().map_or(Position::START, |event| event.position);
        let page = store
            .read_feed(ReadFeedRequest {
                after,
                filter: EventFilter::All,
                limit: 100,
            })
            .await
            .unwrap()
            .events;
        if page.is_empty() {
            let positions = log.iter().map(|event| event.position.get());
            assert!(
                positions.eq(1..=log.len() as u64),
                "positions are not dense from 1"
            );
            return log;
        }
        log.extend(page);
    }
}

/// Returns the positions of a page of a feed, and the position up to which it was read.
async fn feed(
    store: &impl EventStore,
    after: u64,
    filter: EventFilter,
    limit: usize,
) -> (Vec<u64>, u64) {
    let request = ReadFeedRequest {
        after: Position::new(after),
        filter,
        limit,
    };
    let page = store.read_feed(request).await.unwrap();
    let positions = page.events.iter().map(|event| event.position.get());
    (positions.collect(), page.scanned_to.get())
}

fn conflict(result: Result<CommitReceipt, EventStoreError>) -> VersionConflict {
    match result {
        Err(EventStoreError::VersionConflict(conflict)) => conflict,
        other => panic!("a version conflict was expected, not {other:?}"),
    }
}

/// Checks that events are read back unchanged: the payload byte for byte, and the whole envelope.
pub async fn events_come_back_as_they_were_appended(store: impl EventStore) {
    let id = stream("envelope");
    let payload = "{ \"text\" : \"Zürich ✈ \\u0000\",  \"number\":1.10e2, \"number\":-0.0 }";
    let metadata = Metadata::default()
        .correlation_id("c")
        .causation_id("d")
        .user(serde_json::json!({ "by": ["ada"] }));
    let commit = CommitId::generate();
    let events = vec![event(0, payload), event(0, "null")];
    let before = SystemTime::now() - Duration::from_secs(1);
    let request =
        AppendRequest::new(commit, vec![expect(&id, 0)], events, metadata.clone(), None).unwrap();
    let appended = store.append(request).await.unwrap();
    assert_eq!(
        appended,
        CommitReceipt {
            position: Position::new(2),
            events: 2,
            repeated: false
        }
    );
    let log = log(&store).await;
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].payload, payload.as_bytes());
    assert_eq!(
        (&log[0].stream, log[0].version.get(), &*log[0].type_name),
        (&id, 1, "Noted")
    );
    assert_eq!((log[0].commit_id(), log[1].commit_id()), (commit, commit));
    for (number, event) in log.iter().enumerate() {
        assert_eq!(
            event.event_id,
            commit.event(number),
            "not the id of the request"
        );
        assert_eq!(event.metadata, metadata);
    }
    assert!(
        log[0].recorded_at > before
            && log[0].recorded_at < SystemTime::now() + Duration::from_secs(1)
    );
    let page = read(&store, &[(&id, 0)], None, 10).await;
    assert_eq!(
        (
            page.events[0].payload.as_ref(),
            page.events[0].position.get()
        ),
        (payload.as_bytes(), 1)
    );
    for (read, logged) in page.events.iter().zip(&log) {
        assert_eq!(read.type_name, logged.type_name);
        assert_eq!(read.payload, logged.payload);
        assert_eq!(
            (read.version, read.position),
            (logged.version, logged.position)
        );
    }
    assert_eq!(
        (page.events.len(), page.versions(), page.snapshot.get()),
        (2, vec![Version::new(2)], 2)
    );
}

/// Checks that versions are consecutive within a stream, and positions across all streams.
pub async fn versions_and_positions_are_dense(store: impl EventStore) {
    let (a, b) = (stream("a"), stream("b"));
    for n in 0..10 {
        let events = vec![event(0, "1"), event(1, "2"), event(0, "3")];
        store
            .append(request(vec![expect(&a, n * 2), expect(&b, n)], events))
            .await
            .unwrap();
    }
    let log = log(&store).await;
    for (id, count) in [(&a, 20), (&b, 10)] {
        let versions = log
            .iter()
            .filter(|event| event.stream == *id)
            .map(|event| event.version.get());
        assert!(
            versions.eq(1..=count),
            "versions of {id} are not dense from 1"
        );
        let request = ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::Stream(id.clone()),
            limit: 100,
        };
        assert_eq!(
            store.read_feed(request).await.unwrap().events.len() as u64,
            count
        );
    }
    let none = read(&store, &[(&stream("none"), 0)], None, 10).await;
    assert_eq!(
        (none.versions(), none.events),
        (vec![Version::EMPTY], vec![])
    );
}

/// Checks that pages of several streams are ordered by position, not grouped by stream.
pub async fn a_page_of_several_streams_is_in_commit_order(store: impl EventStore) {
    let (a, b, other) = (stream("a"), stream("b"), stream("other"));
    for n in 0..30 {
        let events = vec![event(1, "1"), event(2, "2"), event(0, "3")];
        store
            .append(request(
                vec![expect(&a, n), expect(&b, n), expect(&other, n)],
                events,
            ))
            .await
            .unwrap();
    }
    let page = read(&store, &[(&a, 10), (&b, 0)], None, 1000).await;
    assert_eq!(page.events.len(), 50);
    assert!(
        page.events.is_sorted_by_key(|event| event.position),
        "events are not in commit order"
    );
    assert_eq!(page.versions(), [Version::new(30), Version::new(30)]);
    assert!(
        page.events
            .iter()
            .all(|event| event.payload == [b"3", b"1"][event.stream].as_slice())
    );
}

/// Checks that a page contains the id of each stream's last event in the snapshot, and of the event
/// after which the stream is read.
pub async fn pages_name_the_last_event_of_each_stream(store: impl EventStore) {
    let (a, b, none) = (stream("a"), stream("b"), stream("none"));
    let mut ids = Vec::new();
    for n in 0..20 {
        let events = vec![event(0, "1"), event(1, "2"), event(0, "3")];
        let request = request(vec![expect(&a, 2 * n), expect(&b, n)], events);
        ids.extend((0..3).map(|index| request.event_id(index)));
        store.append(request).await.unwrap();
    }
    // The event id by stream and version; versions start at 1.
    let id_of = |stream: &StreamId, version: u64| {
        let before = usize::try_from(version).unwrap().checked_sub(1)?;
        let place = if *stream == b {
            before * 3 + 1
        } else {
            before / 2 * 3 + before % 2 * 2
        };
        ids.get(place).copied().filter(|_| *stream != none)
    };
    for up_to in [
        None,
        Some(60),
        Some(31),
        Some(30),
        Some(2),
        Some(1),
        Some(0),
    ] {
        let end = up_to.unwrap_or(60);
        // Each commit has three events, the second one in `b`.
        let (of_a, of_b) = (end - (end + 1) / 3, (end + 1) / 3);
        for after in [0, 1, 5, 19, 20, 21, 40, 41, u64::MAX] {
            for limit in [1, 2, 7, 1000] {
                let cursors = [(&a, after), (&none, after), (&b, after)];
                let page = read(&store, &cursors, up_to.map(Position::new), limit).await;
                let said = format!("after {after} up to {up_to:?}, {limit} events");
                for ((stream, version), extent) in [(&a, of_a), (&none, 0), (&b, of_b)]
                    .into_iter()
                    .zip(&page.streams)
                {
                    let head = match id_of(stream, version) {
                        Some(id) => StreamHead::new(Version::new(version), id),
                        None => StreamHead::EMPTY,
                    };
                    assert_eq!(extent.head, head, "the head of {stream}, {said}");
                    let known = (after <= version).then(|| id_of(stream, after)).flatten();
                    assert_eq!(extent.after, known, "where {stream} is read on, {said}");
                }
                assert_eq!(page.streams.len(), 3);
            }
        }
    }
}

/// Checks that an append conflicts if the expected versions match but the events differ, as after a
/// restore from a backup.
pub async fn another_event_at_the_expected_version_is_a_conflict(store: impl EventStore) {
    let (a, guard) = (stream("a"), stream("guard"));
    let first = request(vec![expect(&a, 0)], vec![event(0, "1"), event(0, "2")]);
    let second = request(vec![expect(&guard, 0)], vec![event(0, "3")]);
    let [a1, a2, of_guard] = [first.event_id(0), first.event_id(1), second.event_id(0)];
    store.append(first).await.unwrap();
    store.append(second).await.unwrap();
    let elsewhere = CommitId::generate().event(0);
    for (wrong, other) in [(elsewhere, of_guard), (a1, of_guard), (a2, elsewhere)] {
        let expected = vec![expect_event(&a, 2, wrong), expect_event(&guard, 1, other)];
        // Write to either stream, or to none.
        for events in [vec![event(0, "4")], vec![event(1, "5")], vec![]] {
            let append = request(expected.clone(), events);
            let found = conflict(store.append(append).await);
            let (stream, version) = if wrong == a2 { (&guard, 1) } else { (&a, 2) };
            assert_eq!(
                (&found.stream, found.expected.get(), found.actual.get()),
                (stream, version, version)
            );
        }
    }
    // A stream without events cannot have this event.
    let new = stream("new");
    let impossible = ExpectedVersion {
        event_id: Some(elsewhere),
        ..expect(&new, 0)
    };
    conflict(
        store
            .append(request(vec![impossible], vec![event(0, "6")]))
            .await,
    );
    assert_eq!(
        log(&store).await.len(),
        3,
        "a refused commit left something behind"
    );
    let expected = vec![
        expect_event(&a, 2, a2),
        expect_event(&guard, 1, of_guard),
        expect(&new, 0),
    ];
    let right = request(expected, vec![event(0, "7"), event(2, "8")]);
    store.append(right.clone()).await.unwrap();
    // The expected versions no longer match, but only because of its own events.
    let again = store.append(right).await.unwrap();
    assert_eq!((again.events, again.repeated), (2, false));
    assert_eq!(log(&store).await.len(), 5);
}

/// Sends valid and conflicting commits concurrently, so that a store with group commit has them in
/// one batch.
pub async fn commits_of_a_replaced_history_fail_among_many(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let streams: Vec<_> = (0..30).map(stream).collect();
    let mut ids = Vec::new();
    for id in &streams {
        let first = request(vec![expect(id, 0)], vec![event(0, "1")]);
        ids.push(first.event_id(0));
        store.append(first).await.unwrap();
    }
    let requests: Vec<_> = (0..30)
        .map(|number| {
            let of = if number % 3 == 0 {
                (number + 1) % 30
            } else {
                number
            };
            let expected = vec![expect_event(&streams[number], 1, ids[of])];
            request(expected, vec![event(0, "2")])
        })
        .collect();
    let append = |request| {
        let store = store.clone();
        tokio::spawn(async move { store.append(request).await })
    };
    let tasks: Vec<_> = requests.into_iter().map(append).collect();
    for (number, task) in tasks.into_iter().enumerate() {
        let result = task.await.unwrap();
        if number % 3 == 0 {
            let found = conflict(result);
            assert_eq!((&found.stream, found.actual.get()), (&streams[number], 1));
        } else {
            result.unwrap();
        }
    }
    assert_eq!(log(&store).await.len(), 30 + 20);
}

/// Checks that a conflict names the stream, and that a conflicting commit writes nothing.
pub async fn a_conflict_names_the_stream_and_writes_nothing(store: impl EventStore) {
    let (a, b) = (stream("a"), stream("b"));
    store
        .append(request(vec![expect(&b, 0)], vec![event(0, "1")]))
        .await
        .unwrap();
    for wrong in [0, 2] {
        let events = vec![event(0, "2"), event(1, "3")];
        let found = conflict(
            store
                .append(request(vec![expect(&a, 0), expect(&b, wrong)], events))
                .await,
        );
        assert_eq!(
            (found.stream, found.expected.get(), found.actual.get()),
            (b.clone(), wrong, 1)
        );
    }
    assert_eq!(
        log(&store).await.len(),
        1,
        "a refused commit left something behind"
    );
}

/// Checks that the versions of read-only streams are checked too, also in a commit without events.
pub async fn streams_that_are_only_read_are_checked_too(store: impl EventStore) {
    let (a, guard) = (stream("a"), stream("guard"));
    store
        .append(request(vec![expect(&guard, 0)], vec![event(0, "1")]))
        .await
        .unwrap();
    conflict(
        store
            .append(request(
                vec![expect(&a, 0), expect(&guard, 0)],
                vec![event(0, "2")],
            ))
            .await,
    );
    conflict(store.append(request(vec![expect(&guard, 0)], vec![])).await);
    let checked = store
        .append(request(vec![expect(&guard, 1), expect(&a, 0)], vec![]))
        .await
        .unwrap();
    assert_eq!(
        checked,
        CommitReceipt {
            position: Position::new(1),
            events: 0,
            repeated: false
        }
    );
    assert_eq!(log(&store).await.len(), 1);
}

/// Checks that a commit is made once if a client that received no response repeats it.
pub async fn a_repeated_commit_is_made_once(store: impl EventStore) {
    let (a, b) = (stream("a"), stream("b"));
    let commit = request(
        vec![expect(&a, 0), expect(&b, 0)],
        vec![event(1, "1"), event(0, "2")],
    );
    let first = store.append(commit.clone()).await.unwrap();
    store
        .append(request(vec![expect(&a, 1)], vec![event(0, "\"later\"")]))
        .await
        .unwrap();
    assert_eq!(store.append(commit).await.unwrap(), first);
    assert_eq!(log(&store).await.len(), 3);
    conflict(
        store
            .append(request(
                vec![expect(&a, 0), expect(&b, 0)],
                vec![event(1, "1")],
            ))
            .await,
    );
}

/// Checks that a commit with a key that a client repeats is recognized as the same commit.
pub async fn a_repeated_commit_with_a_key_is_its_own(store: impl EventStore) {
    let a = stream("a");
    let keyed = |key: &str, events| {
        AppendRequest::new(
            CommitId::generate(),
            vec![expect(&a, 0)],
            events,
            Metadata::default(),
            Some(IdempotencyKey::new(key).unwrap()),
        )
        .unwrap()
    };
    for commit in [
        keyed("empty", vec![]),
        keyed("two", vec![event(0, "1"), event(0, "2")]),
    ] {
        let first = store.append(commit.clone()).await.unwrap();
        assert!(!first.repeated);
        assert_eq!(store.append(commit).await.unwrap(), first);
    }
    assert_eq!(log(&store).await.len(), 2);
    assert!(store.append(keyed("two", vec![])).await.unwrap().repeated);
}

/// Checks that an idempotency key is committed once, regardless of the commit.
pub async fn an_idempotency_key_commits_once(store: impl EventStore) {
    let a = stream("a");
    let key = IdempotencyKey::new("request 7").unwrap();
    let keyed = |version, events| {
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        AppendRequest::new(
            id,
            vec![expect(&a, version)],
            events,
            metadata,
            Some(key.clone()),
        )
        .unwrap()
    };
    let lookup = || ReadStreamsRequest {
        streams: vec![],
        snapshot: None,
        limit: 10,
        idempotency_key: Some(key.clone()),
    };
    assert_eq!(
        store
            .read_streams(lookup())
            .await
            .unwrap()
            .already_committed,
        None
    );
    let commit = keyed(0, vec![event(0, "1"), event(0, "2")]);
    let first = store.append(commit.clone()).await.unwrap();
    // The same commit again, as after a lost response: it is the original, not a repetition.
    assert_eq!(store.append(commit).await.unwrap(), first);
    assert!(!first.repeated);
    let repeated = Some(CommitReceipt {
        repeated: true,
        ..first.clone()
    });
    for version in [0, 2] {
        assert_eq!(
            Some(
                store
                    .append(keyed(version, vec![event(0, "3")]))
                    .await
                    .unwrap()
            ),
            repeated
        );
    }
    assert_eq!(
        store
            .read_streams(lookup())
            .await
            .unwrap()
            .already_committed,
        repeated
    );
    assert_eq!(log(&store).await.len(), 2);
    let done = store.read_streams(ReadStreamsRequest {
        streams: vec![StreamCursor::new(a.clone(), Version::EMPTY)],
        ..lookup()
    });
    let done = done.await.unwrap();
    assert_eq!(
        (done.already_committed, done.events, done.streams),
        (repeated, vec![], vec![]),
        "a command that is done reads its streams all the same"
    );
    let other = IdempotencyKey::new("nothing to write").unwrap();
    let empty = |version| {
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        let expected = vec![expect(&a, version)];
        AppendRequest::new(id, expected, vec![], metadata, Some(other.clone())).unwrap()
    };
    let earlier = async || {
        let request = ReadStreamsRequest {
            idempotency_key: Some(other.clone()),
            ..lookup()
        };
        store.read_streams(request).await.unwrap().already_committed
    };
    conflict(store.append(empty(1)).await);
    assert_eq!(earlier().await, None, "a refused commit used up its key");
    let first = store.append(empty(2)).await.unwrap();
    assert_eq!((first.events, first.repeated), (0, false));
    store
        .append(request(vec![expect(&a, 2)], vec![event(0, "\"later\"")]))
        .await
        .unwrap();
    let repeated = CommitReceipt {
        repeated: true,
        ..first
    };
    assert_eq!(store.append(empty(2)).await.unwrap(), repeated);
    assert_eq!(earlier().await, Some(repeated));
}

/// Checks that a key is bound to its request: the same request is repeated, and any other is
/// refused.
pub async fn a_key_of_another_request_is_refused(store: impl EventStore) {
    let a = stream("a");
    let key = |request: &str| {
        let key = IdempotencyKey::new("request 7").unwrap();
        match request {
            "" => key,
            _ => key.for_request(request).unwrap(),
        }
    };
    let keyed = |key: IdempotencyKey, version, events| {
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        AppendRequest::new(id, vec![expect(&a, version)], events, metadata, Some(key)).unwrap()
    };
    let lookup = |key: IdempotencyKey, streams| ReadStreamsRequest {
        streams,
        snapshot: None,
        limit: 10,
        idempotency_key: Some(key),
    };
    let cursors = || vec![StreamCursor::new(a.clone(), Version::EMPTY)];
    // Covers requests with and without a fingerprint, and commits that write nothing.
    let mut version = 0;
    for (number, (own, others)) in [("pay 5", ["pay 6", ""]), ("", ["pay 5", "pay 6"])]
        .into_iter()
        .enumerate()
    {
        for events in [2, 0] {
            let key = |request: &str| {
                let text = format!("request {number} {events}");
                match request {
                    "" => IdempotencyKey::new(text).unwrap(),
                    _ => IdempotencyKey::new(text)
                        .unwrap()
                        .for_request(request)
                        .unwrap(),
                }
            };
            let new = || (0..events).map(|n| event(0, &n.to_string())).collect();
            let unused = store.read_streams(lookup(key(own), vec![])).await.unwrap();
            assert_eq!(unused.already_committed, None);
            let commit = keyed(key(own), version, new());
            let first = store.append(commit.clone()).await.unwrap();
            version += events;
            // The same commit is recognized by its id.
            assert_eq!(store.append(commit).await.unwrap(), first);
            let repeated = CommitReceipt {
                repeated: true,
                ..first.clone()
            };
            for other in others {
                let reused = KeyReused {
                    key: key(other),
                    position: first.position,
                    events: first.events,
                };
                for version in [0, version] {
                    match store.append(keyed(key(other), version, new())).await {
                        Err(EventStoreError::KeyReused(error)) => assert_eq!(error, reused),
                        made => panic!("`{other}` is taken for `{own}`: {made:?}"),
                    }
                }
                for streams in [vec![], cursors()] {
                    match store.read_streams(lookup(key(other), streams)).await {
                        Err(EventStoreError::KeyReused(error)) => assert_eq!(error, reused),
                        page => panic!("`{other}` is taken for `{own}`: {page:?}"),
                    }
                }
            }
            let again = keyed(key(own), 0, new());
            assert_eq!(store.append(again).await.unwrap(), repeated);
            let page = store.read_streams(lookup(key(own), cursors())).await;
            assert_eq!(page.unwrap().already_committed, Some(repeated));
            assert_eq!(log(&store).await.len() as u64, version);
        }
    }
    // A refused request does not use up its key.
    let refused = store.append(keyed(key("first"), 0, vec![event(0, "1")]));
    conflict(refused.await);
    let made = store.append(keyed(key("second"), version, vec![event(0, "1")]));
    assert!(!made.await.unwrap().repeated);
}

/// Checks that sixteen concurrent appends commit once, with the same key and then with the same
/// commit id.
pub async fn a_key_or_commit_used_by_many_at_once_commits_once(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let append_all = async |requests: Vec<AppendRequest>| {
        let append = |request| {
            let store = store.clone();
            tokio::spawn(async move { store.append(request).await.unwrap() })
        };
        let tasks: Vec<_> = requests.into_iter().map(append).collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    };
    let key = IdempotencyKey::new("once").unwrap();
    let keyed = |task: u64| {
        let expected = vec![expect(&stream(task), 0)];
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        let events = vec![event(0, "1"), event(0, "2")];
        AppendRequest::new(id, expected, events, metadata, Some(key.clone())).unwrap()
    };
    let results = append_all((0..16).map(keyed).collect()).await;
    assert_eq!(
        results.iter().filter(|result| !result.repeated).count(),
        1,
        "one of them commits"
    );
    assert!(
        results
            .iter()
            .all(|result| (result.position.get(), result.events) == (2, 2))
    );
    assert_eq!(log(&store).await.len(), 2);

    let commit = request(vec![expect(&stream("same"), 0)], vec![event(0, "1")]);
    let results = append_all(vec![commit; 16]).await;
    assert!(
        results.iter().all(|result| result.position.get() == 3),
        "a repeated commit has another result"
    );
    assert_eq!(log(&store).await.len(), 3);
}

/// Checks that concurrent reads with different parameters, which a store may combine, each get
/// their own page.
pub async fn reads_made_at_once_get_each_its_own_page(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    // The last stream has no events.
    let ids: Vec<_> = (0..9).map(stream).collect();
    let key = IdempotencyKey::new("request 7").unwrap();
    let expected = ids[..8].iter().map(|id| expect(id, 0)).collect();
    let events = (0..64).map(|n| event(n % (n % 8 + 1), &n.to_string()));
    let (id, metadata) = (CommitId::generate(), Metadata::default());
    let commit = AppendRequest::new(id, expected, events.collect(), metadata, Some(key.clone()));
    store.append(commit.unwrap()).await.unwrap();
    let ask = |n: usize| ReadStreamsRequest {
        streams: (0..n % 4)
            .map(|next| {
                StreamCursor::new(
                    ids[(n + 3 * next) % 9].clone(),
                    Version::new(n as u64 % 5 * 3),
                )
            })
            .collect(),
        snapshot: n.is_multiple_of(5).then_some(Position::new(2 * n as u64)),
        limit: n % 7 * 5,
        idempotency_key: n.is_multiple_of(6).then(|| key.clone()),
    };
    let mut alone = Vec::new();
    for n in 0..48 {
        let request = ask(n);
        let page = store.read_streams(request.clone()).await.unwrap();
        if request.idempotency_key.is_none() {
            let other = Some(IdempotencyKey::new("never used").unwrap());
            let keyed = ReadStreamsRequest {
                idempotency_key: other,
                ..request
            };
            let message = "a key without a commit makes another page";
            assert_eq!(store.read_streams(keyed).await.unwrap(), page, "{message}");
        }
        alone.push(page);
    }
    let at_once = (0..48).map(|n| {
        let (store, request) = (store.clone(), ask(n));
        tokio::spawn(async move { store.read_streams(request).await.unwrap() })
    });
    for (page, alone) in at_once.collect::<Vec<_>>().into_iter().zip(alone) {
        assert_eq!(page.await.unwrap(), alone);
    }
}

/// Checks that a snapshot does not change while others write.
pub async fn pages_follow_one_another_in_one_snapshot(store: impl EventStore) {
    let ids = [stream("a"), stream("b"), stream("c")];
    let write = async |round: u64| {
        let expected = ids.iter().map(|id| expect(id, round * 50)).collect();
        let events = (0..150).map(|n| event(n % 3, "1")).collect();
        store.append(request(expected, events)).await.unwrap();
    };
    for round in 0..20 {
        write(round).await;
    }
    let first = read(
        &store,
        &[(&ids[0], 0), (&ids[1], 0), (&ids[2], 0)],
        None,
        100,
    )
    .await;
    assert_eq!((first.events.len(), first.snapshot.get()), (100, 3000));
    let mut seen = [0; 3];
    let (mut page, mut events, mut round) = (first, 0, 20);
    loop {
        assert!(
            page.versions().iter().all(|version| version.get() == 1000),
            "a version of another snapshot"
        );
        for event in &page.events {
            seen[event.stream] += 1;
            events += 1;
            assert_eq!(
                (event.version.get(), event.position.get()),
                (seen[event.stream], events)
            );
        }
        if page.events.len() < 100 {
            break;
        }
        write(round).await;
        round += 1;
        let cursors = [(&ids[0], seen[0]), (&ids[1], seen[1]), (&ids[2], seen[2])];
        page = read(&store, &cursors, Some(Position::new(3000)), 100).await;
    }
    assert_eq!(events, 3000);
    let page = read(&store, &[(&ids[0], 0)], None, usize::MAX).await;
    assert_eq!(page.events.len(), MAX_PAGE_EVENTS, "a page is not bounded");
    assert_eq!(read(&store, &[(&ids[0], 0)], None, 0).await.events.len(), 1);
}

/// Checks that a snapshot includes neither later events nor later streams, regardless of which
/// stream has the older events.
pub async fn a_snapshot_hides_what_came_later(store: impl EventStore) {
    let (old, new, late) = (stream("old"), stream("new"), stream("late"));
    let append = async |id: &StreamId, version, count| {
        let events = vec![event(0, "1"); count];
        store
            .append(request(vec![expect(id, version)], events))
            .await
            .unwrap();
    };
    append(&old, 0, 150).await;
    append(&new, 0, 5).await;
    append(&old, 150, 5).await;
    append(&new, 5, 150).await;
    append(&late, 0, 3).await;
    append(&old, 155, 3).await;
    let snapshot = Some(Position::new(160));
    let (mut seen, mut position) = ([0, 0, 0], 0);
    loop {
        let cursors = [(&new, seen[0]), (&late, seen[1]), (&old, seen[2])];
        let page = read(&store, &cursors, snapshot, 100).await;
        let versions: Vec<_> = page
            .versions()
            .iter()
            .map(|version| version.get())
            .collect();
        assert_eq!(
            (versions, page.snapshot.get()),
            (vec![5, 0, 155], 160),
            "not the versions of the snapshot"
        );
        for event in &page.events {
            seen[event.stream] += 1;
            position += 1;
            assert_eq!(
                (event.version.get(), event.position.get()),
                (seen[event.stream], position)
            );
        }
        if page.events.len() < 100 {
            break;
        }
    }
    assert_eq!(seen, [5, 0, 155]);
    let none = read(&store, &[(&old, 155), (&new, 200)], snapshot, 100).await;
    assert_eq!(
        (none.events.len(), none.versions()),
        (0, vec![Version::new(155), Version::new(5)])
    );
    let start = read(&store, &[(&old, 0)], Some(Position::START), 100).await;
    assert_eq!(
        (start.events.len(), start.versions()),
        (0, vec![Version::EMPTY])
    );
    let beyond = read(&store, &[(&late, 0)], Some(Position::new(1000)), 100).await;
    assert_eq!(
        (beyond.events.len(), beyond.snapshot.get()),
        (3, 316),
        "a snapshot of the future"
    );
}

/// Checks that the log can be read after a position, for all streams or one, page by page.
pub async fn the_log_is_read_on_from_a_position(store: impl EventStore) {
    let (a, b) = (stream("a"), stream("b"));
    let events = (0..2400).map(|n| event(n % 2, "1")).collect();
    store
        .append(request(vec![expect(&a, 0), expect(&b, 0)], events))
        .await
        .unwrap();
    let (all, one) = (|| EventFilter::All, EventFilter::Stream);
    let read = async |after, filter, limit| feed(&store, after, filter, limit).await;
    assert_eq!(read(7, all(), 3).await, (vec![8, 9, 10], 10));
    assert_eq!(read(7, one(a.clone()), 3).await, (vec![9, 11, 13], 13));
    assert_eq!(read(7, one(b.clone()), 3).await, (vec![8, 10, 12], 12));
    assert_eq!(read(2398, all(), 10).await, (vec![2399, 2400], 2400));
    assert_eq!(read(2397, one(b), 1).await, (vec![2398], 2398));
    assert_eq!(read(2397, one(a.clone()), 9).await, (vec![2399], 2400));
    for after in [2400, 2401] {
        assert_eq!(read(after, all(), 10).await, (vec![], 2400));
        assert_eq!(read(after, one(a.clone()), 10).await, (vec![], 2400));
    }
    assert_eq!(read(0, one(stream("none")), 10).await, (vec![], 2400));
    for filter in [all(), one(a)] {
        assert_eq!(
            read(0, filter.clone(), usize::MAX).await.0.len(),
            MAX_PAGE_EVENTS,
            "a page is not bounded"
        );
        assert_eq!(read(0, filter, 0).await.0.len(), 1);
    }
}

/// Checks that a feed can be filtered by category, by type, by both, by several selectors, and by
/// one that matches nothing, for rare and frequent events.
pub async fn a_feed_is_filtered_by_category_and_type(store: impl EventStore) {
    const EVENTS: usize = 6000;
    let named = |category: &str| StreamId::new(format!("{category}-1")).unwrap();
    let streams = [named("tea"), named("coffee"), named("teapot")];
    // One event in 500 of each category has the type `Rare`; one in ten belongs to a teapot.
    let of = |n: usize| {
        let category = if n % 10 == 9 { 2 } else { n % 2 };
        let type_name = match n {
            _ if n % 500 < 3 => "Rare",
            _ if n.is_multiple_of(3) => "Poured",
            _ => "Drunk",
        };
        (category, type_name)
    };
    let mut versions = [0, 0, 0];
    for first in (0..EVENTS).step_by(1000) {
        let expected = streams.iter().zip(versions);
        let expected = expected.map(|(id, version)| expect(id, version)).collect();
        let new = |n| {
            let (stream, type_name) = of(n);
            NewEvent {
                type_name,
                ..event(stream, "1")
            }
        };
        let events: Vec<_> = (first..first + 1000).map(new).collect();
        for event in &events {
            versions[event.stream] += 1;
        }
        store.append(request(expected, events)).await.unwrap();
    }
    let (category, of_type) = (EventSelector::category, EventSelector::of_type);
    let filters = [
        EventFilter::any_of([category("tea")]),
        EventFilter::any_of([category("teapot")]),
        EventFilter::any_of([of_type("Rare")]),
        EventFilter::any_of([of_type("Poured"), of_type("Drunk")]),
        EventFilter::any_of([category("coffee").event_type("Rare")]),
        EventFilter::any_of([category("coffee").event_type("Rare"), category("teapot")]),
        EventFilter::any_of([category("tea"), category("coffee"), category("teapot")]),
        EventFilter::any_of([category("tea"), category("tea"), of_type("Poured")]),
        EventFilter::any_of([category("te")]),
        EventFilter::any_of([of_type("poured"), category("tea").event_type("Spilt")]),
        EventFilter::any_of([]),
    ];
    for filter in filters {
        let matching: Vec<u64> = (1..)
            .zip((0..EVENTS).map(of))
            .filter(|(_, (stream, type_name))| filter.matches(&streams[*stream], type_name))
            .map(|(position, _)| position)
            .collect();
        for limit in [1, 7, 100, 1000] {
            let (mut seen, mut after) = (Vec::new(), 0);
            // Limits the number of pages, since one page per event would take long and the first
            // pages suffice.
            while seen.len() < limit * 20 {
                let (positions, up_to) = feed(&store, after, filter.clone(), limit).await;
                let is_full = positions.len() == limit;
                let expected = if is_full {
                    positions[limit - 1]
                } else {
                    EVENTS as u64
                };
                assert_eq!(
                    up_to, expected,
                    "not all of the feed that was looked at: {filter:?}"
                );
                seen.extend(positions);
                after = up_to;
                if !is_full {
                    break;
                }
            }
            let expected = &matching[..matching.len().min(seen.len().max(limit * 20))];
            assert_eq!(seen, expected, "pages of {limit}: {filter:?}");
        }
    }
}

/// Checks that a wait resolves immediately if there is an event, otherwise on the next commit and
/// not before, also for concurrent waiters.
pub async fn waiting_ends_when_an_event_is_there(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let a = stream("a");
    let append = async |version| {
        let events = vec![event(0, "1")];
        let commit = request(vec![expect(&a, version)], events);
        store.append(commit).await.unwrap();
    };
    append(0).await;
    let soon = Duration::from_secs(10);
    for _ in 0..2 {
        let wait = store.wait_for_event(Position::START);
        tokio::time::timeout(soon, wait)
            .await
            .expect("there is one already")
            .unwrap();
    }
    for version in 1..20 {
        // A store may wake a waiter spuriously, so each waiter reads before it waits again.
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    let mut up_to = version;
                    while up_to == version {
                        store.wait_for_event(Position::new(version)).await.unwrap();
                        up_to = feed(&*store, version, EventFilter::All, 10).await.1;
                    }
                    up_to
                })
            })
            .collect();
        if version % 2 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            assert!(
                waiters.iter().all(|waiter| !waiter.is_finished()),
                "there is none"
            );
        }
        append(version).await;
        for waiter in waiters {
            let woken = tokio::time::timeout(soon, waiter).await;
            assert_eq!(woken.expect("a waiter was forgotten").unwrap(), version + 1);
        }
    }
}

/// Checks that 16 concurrent writers lose no events, with half of the streams shared.
pub async fn many_writers_lose_nothing(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let writer = |task: u64| {
        let store = store.clone();
        async move {
            let (mine, shared) = (stream(task), stream(format_args!("shared-{}", task % 4)));
            for n in 0..20 {
                loop {
                    let version = read(&store, &[(&shared, 0)], None, 1).await.versions()[0].get();
                    let read = version.to_string();
                    let events = vec![event(0, "1"), event(1, &read), event(0, "3")];
                    let expected = vec![expect(&mine, n * 2), expect(&shared, version)];
                    match store.append(request(expected, events)).await {
                        Ok(_) => break,
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                }
            }
        }
    };
    let tasks: Vec<_> = (0..16).map(|task| tokio::spawn(writer(task))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let log = log(&store).await;
    assert_eq!(log.len(), 16 * 20 * 3);
    for commit in log.chunks(3) {
        assert!(
            commit
                .iter()
                .all(|event| event.commit_id() == commit[0].commit_id()),
            "a commit is torn"
        );
        assert_eq!(
            commit[1].payload,
            (commit[1].version.get() - 1).to_string(),
            "a commit was made on a version that was no longer the latest"
        );
    }
}

/// Checks that a reader that polls continuously while others write never sees a gap.
pub async fn a_reader_never_sees_a_hole(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let writers: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    let events = (0..=n % 7).map(|_| event(0, "1")).collect::<Vec<_>>();
                    let id = stream(format_args!("{task}-{n}"));
                    store
                        .append(request(vec![expect(&id, 0)], events))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    let total = 4 * (0..50).map(|n| n % 7 + 1).sum::<u64>();
    let mut after = Position::START;
    while after.get() < total {
        for event in store
            .read_feed(ReadFeedRequest {
                after,
                filter: EventFilter::All,
                limit: 64,
            })
            .await
            .unwrap()
            .events
        {
            assert_eq!(
                event.position,
                after.plus(1),
                "an event was missed, or came late"
            );
            after = event.position;
        }
        tokio::task::yield_now().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Checks that a page never contains part of a commit, by reading two streams that always grow
/// together.
pub async fn a_page_never_shows_half_a_commit(store: impl EventStore + 'static) {
    let store = Arc::new(store);
    let writer = {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                let expected = vec![expect(&stream("a"), n), expect(&stream("b"), n)];
                let events = vec![event(0, "1"), event(1, "2")];
                store.append(request(expected, events)).await.unwrap();
                // Gives the reader time to run, on a store that never waits.
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        })
    };
    let (a, b) = (stream("a"), stream("b"));
    loop {
        let last = writer.is_finished();
        let page = read(&store, &[(&a, 0), (&b, 0)], None, 1000).await;
        let version = page.versions()[0].get();
        assert_eq!(page.versions()[1].get(), version, "half a commit");
        assert_eq!(
            (page.events.len() as u64, page.snapshot.get()),
            (version * 2, version * 2),
            "versions, events and snapshot of different moments"
        );
        if last {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
    assert_eq!(log(&store).await.len(), 400);
}

/// Checks that an append whose future is dropped after a few polls is complete or absent, for
/// single drops and many in a row.
pub async fn a_dropped_append_is_whole_or_absent(store: impl EventStore) {
    for n in 0..100 {
        let (a, b) = (stream(format_args!("a{n}")), stream(format_args!("b{n}")));
        let commit = request(
            vec![expect(&a, 0), expect(&b, 0)],
            vec![event(0, "1"), event(1, "2")],
        );
        {
            let mut append = pin!(store.append(commit));
            let _ = append
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        // Queued behind anything that the dropped append left.
        store
            .append(request(vec![expect(&stream(n), 0)], vec![event(0, "3")]))
            .await
            .unwrap();
        let versions = read(&store, &[(&a, 0), (&b, 0)], None, 10).await.versions();
        assert_eq!(versions[0], versions[1], "half a commit");
    }
    let id = |side: char, n: usize| stream(format_args!("burst-{side}{n}"));
    for n in 0..300 {
        let expected = vec![expect(&id('a', n), 0), expect(&id('b', n), 0)];
        let mut append = store.append(request(expected, vec![event(0, "1"), event(1, "2")]));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..=n % 3 {
            if append.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
    }
    store
        .append(request(vec![expect(&id('c', 0), 0)], vec![event(0, "3")]))
        .await
        .unwrap();
    for n in 0..300 {
        let (a, b) = (id('a', n), id('b', n));
        let versions = read(&store, &[(&a, 0), (&b, 0)], None, 10).await.versions();
        assert_eq!(versions[0], versions[1], "half a commit");
    }
    log(&store).await;
}

/// Checks that versions and positions which no store will ever reach are handled correctly.
pub async fn the_largest_numbers_do_no_harm(store: impl EventStore) {
    let a = stream("a");
    for version in [u64::MAX, i64::MAX.unsigned_abs()] {
        let events = vec![event(0, "1")];
        let found = conflict(
            store
                .append(request(vec![expect(&a, version)], events))
                .await,
        );
        assert_eq!((found.expected.get(), found.actual.get()), (version, 0));
    }
    store
        .append(request(vec![expect(&a, 0)], vec![event(0, "1")]))
        .await
        .unwrap();
    for number in [u64::MAX, i64::MAX.unsigned_abs()] {
        let page = read(&store, &[(&a, number)], Some(Position::new(number)), 10).await;
        assert_eq!(
            (page.events.len(), page.versions(), page.snapshot.get()),
            (0, vec![Version::new(1)], 1)
        );
        let of_type = EventFilter::any_of([EventSelector::of_type("Other")]);
        for filter in [EventFilter::All, EventFilter::Stream(a.clone()), of_type] {
            assert_eq!(feed(&store, number, filter, 10).await, (vec![], 1));
        }
    }
}

/// Checks that payloads which cannot be read as JSON are refused before they reach a store.
pub async fn payloads_that_nobody_could_read_are_refused(store: impl EventStore) {
    let new = |events| {
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        AppendRequest::new(id, vec![expect(&stream("a"), 0)], events, metadata, None)
    };
    let (deep, deepest) = (
        format!("{}0{}", "[".repeat(128), "]".repeat(128)),
        "[".repeat(100_000),
    );
    let not_json: [&[u8]; 14] = [
        b"\"\xff\"",
        b"",
        b"later",
        b"{\"a\":1} 2",
        b"\"\0\"",
        b"NaN",
        b"1e999",
        b" ",
        b"\"\\ud800\"",
        b"{\"\\udc00\":1}",
        b"\xef\xbb\xbf{}",
        b"\x0a\x05hello",
        deep.as_bytes(),
        deepest.as_bytes(),
    ];
    for payload in not_json {
        let payload = payload.to_vec().into();
        let refused = new(vec![NewEvent {
            payload,
            ..event(0, "")
        }]);
        assert!(matches!(
            refused,
            Err(AppendError::NotJson {
                type_name: "Noted",
                ..
            })
        ));
    }
    let commit = new(vec![event(0, "{}"), event(0, "1.0"), event(0, "\"\"")]);
    store.append(commit.unwrap()).await.unwrap();
    assert_eq!(log(&store).await.len(), 3);
}

/// Checks that type names that some stores could not index are refused before they reach a store.
pub async fn names_that_no_store_could_keep_are_refused(store: impl EventStore) {
    for type_name in ["", "a\0", "\n", "\u{7f}", "\u{85}", LONG_NAME] {
        let refused = AppendRequest::new(
            CommitId::generate(),
            vec![expect(&stream("a"), 0)],
            vec![
                event(0, "{}"),
                NewEvent {
                    type_name,
                    ..event(0, "{}")
                },
            ],
            Metadata::default(),
            None,
        );
        match refused {
            Err(AppendError::TypeName { type_name: named }) => assert_eq!(named, type_name),
            other => panic!("{type_name:?}: {other:?}"),
        }
    }
    assert_eq!(log(&store).await.len(), 0);
}

/// A type name one byte over the limit.
const LONG_NAME: &str = match str::from_utf8(&[b'x'; MAX_TYPE_NAME_BYTES + 1]) {
    Ok(name) => name,
    Err(_) => panic!(),
};

/// Checks that a store preserves every event that a commit accepts.
pub async fn unusual_names_and_payloads_come_back_as_they_were(store: impl EventStore) {
    let names = [
        &LONG_NAME[1..],
        "*",
        "%",
        "'; --",
        "ü\u{1f600}",
        "\u{a0}",
        " ",
    ];
    let deep = format!("{}0{}", "[".repeat(127), "]".repeat(127));
    let payloads = [
        "\"\\u0000\"",
        "{\"\\u0000\":{\"\":null}}",
        "\n [ 1 ,\t2 ]\r\n",
        "\"\\ud83d\\ude00 \u{1f600} \u{7f} \u{2028}\"",
        "{\"a\":1,\"a\":2}",
        "18446744073709551616.000000000000000001e-300",
        deep.as_str(),
    ];
    let events: Vec<NewEvent> = names
        .into_iter()
        .zip(payloads)
        .map(|(type_name, payload)| NewEvent {
            type_name,
            ..event(0, payload)
        })
        .collect();
    let a = stream("a");
    let commit = request(vec![expect(&a, 0)], events.clone());
    store.append(commit).await.unwrap();
    let page = read(&store, &[(&a, 0)], None, 100).await;
    let log = log(&store).await;
    assert_eq!((page.events.len(), log.len()), (events.len(), events.len()));
    for (number, event) in events.iter().enumerate() {
        let (of_stream, of_feed) = (&page.events[number], &log[number]);
        assert_eq!(&*of_stream.type_name, event.type_name);
        assert_eq!(&*of_feed.type_name, event.type_name);
        assert_eq!(of_stream.payload, event.payload, "{}", event.type_name);
        assert_eq!(of_feed.payload, event.payload, "{}", event.type_name);
        let filter = EventFilter::any_of([EventSelector::of_type(event.type_name)]);
        assert_eq!(feed(&store, 0, filter, 10).await.0.len(), 1);
    }
}

/// Checks that metadata counts towards the size of a commit, and that metadata which could not be
/// read back is refused.
pub async fn metadata_over_the_limits_is_refused(store: impl EventStore) {
    // Metadata is stored with each event, so it counts once per event.
    let heavy = |events: usize, bytes: usize| {
        AppendRequest::new(
            CommitId::generate(),
            vec![expect(&stream("heavy"), 0)],
            vec![event(0, "1"); events],
            Metadata::default().user(serde_json::json!("x".repeat(bytes))),
            None,
        )
    };
    let share = MAX_COMMIT_BYTES / 16;
    assert!(matches!(
        heavy(16, share),
        Err(AppendError::TooLarge { .. })
    ));
    assert!(heavy(0, MAX_COMMIT_BYTES).is_err());
    heavy(15, share).unwrap();
    // At most 127 levels can be read back, including the metadata itself.
    let nested = |levels| {
        let wrap = |inner, _| serde_json::Value::Array(vec![inner]);
        Metadata::default().user((0..levels).fold(serde_json::Value::Null, wrap))
    };
    assert!(matches!(
        AppendRequest::new(CommitId::generate(), vec![], vec![], nested(127), None),
        Err(AppendError::Metadata { .. })
    ));
    let deepest = AppendRequest::new(
        CommitId::generate(),
        vec![expect(&stream("deep"), 0)],
        vec![event(0, "1")],
        nested(126),
        None,
    );
    store.append(deepest.unwrap()).await.unwrap();
    assert_eq!(log(&store).await[0].metadata, nested(126));
}

/// Checks that the limits are the same for every store, and checked before a commit reaches the
/// store.
pub async fn commits_over_the_limits_are_refused(store: impl EventStore) {
    let new = |events| {
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        AppendRequest::new(id, vec![expect(&stream("a"), 0)], events, metadata, None)
    };
    let many = MAX_COMMIT_EVENTS + 1;
    assert_eq!(
        new(vec![event(0, "1"); many]).unwrap_err(),
        AppendError::TooManyEvents { events: many }
    );
    assert_eq!(
        new(vec![event(1, "1")]).unwrap_err(),
        AppendError::UndeclaredStream { index: 1 }
    );
    for streams in [2_usize, 40] {
        let mut expected: Vec<_> = (1..streams).map(|n| expect(&stream(n), 0)).collect();
        expected.push(expect(&stream(1), 0));
        let twice = AppendRequest::new(
            CommitId::generate(),
            expected,
            vec![],
            Metadata::default(),
            None,
        );
        assert_eq!(
            twice.unwrap_err(),
            AppendError::DuplicateStream { stream: stream(1) }
        );
    }
    let large = "x".repeat(crate::MAX_EVENT_BYTES + 1);
    assert!(matches!(
        new(vec![event(0, &large)]),
        Err(AppendError::EventTooLarge { .. })
    ));
    let count = MAX_COMMIT_BYTES / crate::MAX_EVENT_BYTES + 1;
    let bytes = count * crate::MAX_EVENT_BYTES;
    let large = format!("\"{}\"", &large[3..]);
    assert_eq!(
        new(vec![event(0, &large); count]).unwrap_err(),
        AppendError::TooLarge { bytes }
    );
    let naming = |expected, metadata| {
        AppendRequest::new(CommitId::generate(), expected, vec![], metadata, None)
    };
    let streams = MAX_COMMIT_STREAMS + 1;
    let many = (0..streams).map(|n| expect(&stream(n), 0)).collect();
    assert_eq!(
        naming(many, Metadata::default()).unwrap_err(),
        AppendError::TooManyStreams { streams }
    );
    let largest = format!("\"{}\"", "x".repeat(crate::MAX_EVENT_BYTES - 2));
    store
        .append(new(vec![event(0, &largest)]).unwrap())
        .await
        .unwrap();
    assert_eq!(log(&store).await[0].payload, largest.as_bytes());
}
