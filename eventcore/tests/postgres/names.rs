//! Pages of PostgreSQL whose rows have numbers for names, those of streams and those of the feed far behind the head: they
//! are always the names of the log that the server has now.

use std::{ops::Range, pin::pin, time::Duration};

use eventcore::{
    CommitId, EventFilter, EventSelector, EventStore, Metadata, Position, RecordedEvent, StreamId,
    Version,
    postgres::{PostgresConfig, PostgresEventStore},
    projection::subscribe,
    store::{AppendRequest, NewEvent, ReadFeedRequest, ReadStreamsRequest, StreamCursor},
};
use futures_util::StreamExt;
use tokio_postgres::NoTls;

use crate::{
    append::{expected, noted},
    proxy::{Mode, Proxy},
    server::{config, patient, url},
};

/// Limits of pages.
const SHORT: usize = 100;
const LONG: usize = 1000;

async fn raw() -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The schema of a store, as SQL writes it.
fn schema(config: &PostgresConfig) -> String {
    let location = config.location();
    location.split(' ').nth(1).unwrap().to_owned()
}

/// All that a store says after a position, page by page.
async fn log(
    store: &PostgresEventStore,
    after: u64,
    filter: &EventFilter,
    limit: usize,
) -> Vec<RecordedEvent> {
    let (mut events, mut after) = (Vec::new(), Position::new(after));
    loop {
        let filter = filter.clone();
        let request = ReadFeedRequest {
            after,
            filter,
            limit,
        };
        let page = store.read_feed(request).await.unwrap();
        events.extend(page.events);
        if page.scanned_to == after {
            return events;
        }
        after = page.scanned_to;
    }
}

/// The types of all events of some streams.
async fn types(store: &PostgresEventStore, streams: &[&str], limit: usize) -> Vec<String> {
    let cursor =
        |stream: &&str| StreamCursor::new(StreamId::new(*stream).unwrap(), Version::new(0));
    let request = ReadStreamsRequest {
        streams: streams.iter().map(cursor).collect(),
        snapshot: None,
        limit,
        idempotency_key: None,
    };
    let page = store.read_streams(request).await.unwrap();
    let types = page.events.iter().map(|event| event.type_name.to_string());
    types.collect()
}

/// A commit of one event for each of some streams, all new.
fn commit(
    id: CommitId,
    category: &str,
    streams: Range<u64>,
    type_name: &'static str,
) -> AppendRequest {
    let expected = streams.map(|number| expected(&format!("{category}-{number}"), 0));
    let expected: Vec<_> = expected.collect();
    let events = (0..expected.len()).map(|stream| NewEvent {
        type_name,
        ..noted(stream, "1")
    });
    let events = events.collect();
    AppendRequest::new(id, expected, events, Metadata::default(), None).unwrap()
}

/// A server that takes over without the latest events gives their streams' numbers to others. It is the same for a commit
/// that is repeated there: it comes to have the positions and event ids that it had.
#[tokio::test]
async fn names_are_forgotten_with_the_history_that_they_are_from() {
    let config = config();
    let (schema, again) = (schema(&config), CommitId::generate());
    // There are two statements: one for short pages, one for long ones.
    for (repeated, limit) in [(false, SHORT), (true, SHORT), (false, LONG)] {
        let reader = config.connect().await.unwrap();
        let writer = config.connect().await.unwrap();
        let client = raw().await;
        client
            .batch_execute(&format!(
                "TRUNCATE {schema}.events, {schema}.streams, {schema}.event_types;
                 UPDATE {schema}.sequencer SET position = 0"
            ))
            .await
            .unwrap();
        let append = async |commit| writer.append(commit).await.unwrap();
        append(commit(CommitId::generate(), "kept", 0..300, "Kept")).await;
        append(commit(CommitId::generate(), "lost", 0..600, "Lost")).await;
        append(commit(again, "again", 0..400, "Again")).await;
        // Often enough for every name to be known.
        for _ in 0..3 {
            let events = log(&reader, 0, &EventFilter::All, 300).await;
            assert_eq!(events.len(), 1300);
            let streams = ["kept-1", "lost-1", "again-1", "found-1", "new-1"];
            assert_eq!(
                types(&reader, &streams, limit).await,
                ["Kept", "Lost", "Again"]
            );
        }
        client
            .batch_execute(&format!(
                "DELETE FROM {schema}.events WHERE position > 300;
                 DELETE FROM {schema}.streams WHERE name NOT LIKE 'kept-%';
                 DELETE FROM {schema}.event_types WHERE name <> 'Kept';
                 UPDATE {schema}.sequencer SET position = 300;
                 SELECT setval(pg_get_serial_sequence('{schema}.streams', 'id'), max(id)) FROM {schema}.streams;
                 SELECT setval(pg_get_serial_sequence('{schema}.event_types', 'id'), max(id)) FROM {schema}.event_types"
            ))
            .await
            .unwrap();
        append(commit(CommitId::generate(), "found", 0..600, "Found")).await;
        let id = if repeated {
            again
        } else {
            CommitId::generate()
        };
        append(commit(id, "new", 0..400, "New")).await;

        for _ in 0..3 {
            let streams = ["kept-1", "lost-1", "again-1", "found-1", "new-1"];
            assert_eq!(
                types(&reader, &streams, limit).await,
                ["Kept", "Found", "New"]
            );
            for (event, position) in log(&reader, 0, &EventFilter::All, 300)
                .await
                .iter()
                .zip(1..)
            {
                let (category, type_name) = match position {
                    1..=300 => ("kept", "Kept"),
                    301..=900 => ("found", "Found"),
                    _ => ("new", "New"),
                };
                assert_eq!(
                    (
                        event.position.get(),
                        event.stream.category(),
                        &*event.type_name
                    ),
                    (position, category, type_name)
                );
            }
        }
    }
}

/// Reads while another history replaces that of the page, before its names are looked up.
async fn replaced<T>(
    proxy: &Proxy,
    client: &tokio_postgres::Client,
    history: &str,
    reading: impl Future<Output = T>,
) -> T {
    let mut reading = pin!(reading);
    tokio::select! {
        biased;
        () = proxy.hold(b"is_stream") => {}
        _ = &mut reading => panic!("no names were asked for"),
    }
    client.batch_execute(history).await.unwrap();
    proxy.mode(Mode::Forward);
    reading.await
}

/// The server is replaced after a page has come, whose streams and types are numbers, and before their names are asked
/// for. The one that takes over has the same numbers, for others.
#[tokio::test]
async fn names_are_not_those_of_a_history_that_came_after_the_page() {
    let config = config();
    let direct = config.connect().await.unwrap();
    let schema = schema(&config);
    let client = raw().await;
    // 300 streams, and the second event of each after the first ones of all.
    let history = |category: &str| {
        format!(
            "TRUNCATE {schema}.events, {schema}.streams, {schema}.event_types;
             INSERT INTO {schema}.streams SELECT i, '{category}-' || i FROM generate_series(1, 300) i;
             INSERT INTO {schema}.event_types VALUES (1, '{category}', 'Of.{category}');
             INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
             SELECT i + 1, 1 + i % 300, 1 + i / 300, 1, gen_random_uuid(), now(), '1' FROM generate_series(0, 599) i;
             UPDATE {schema}.sequencer SET position = 600"
        )
    };
    client.batch_execute(&history("lost")).await.unwrap();

    let url = url();
    let (who, rest) = url.split_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let proxy = Proxy::start(address, 0, Duration::ZERO).await;
    let through = format!("{who}@{}/{database}?sslmode=disable", proxy.address);
    let through = PostgresConfig::new(&through)
        .unwrap()
        .schema(&schema)
        .unwrap();
    let through = patient(through);
    let reader = through.connect().await.unwrap();
    let page = async |store: &PostgresEventStore, after: u64| {
        let request = ReadFeedRequest {
            after: Position::new(after),
            filter: EventFilter::All,
            limit: 100,
        };
        store.read_feed(request).await.unwrap().events
    };
    // From now on it knows that the head is far away.
    assert_eq!(page(&reader, 0).await.len(), 100);

    let read = replaced(&proxy, &client, &history("found"), page(&reader, 300)).await;
    let named = |events: &[RecordedEvent]| {
        let named = events.iter().map(|event| {
            (
                event.event_id,
                event.stream.clone(),
                event.type_name.clone(),
            )
        });
        named.collect::<Vec<_>>()
    };
    assert_eq!(read.len(), 100);
    assert_eq!(named(&read), named(&page(&direct, 300).await));
    assert_eq!(&*read[0].type_name, "Of.found");

    // The same for pages of streams.
    let reader = through.connect().await.unwrap();
    client.batch_execute(&history("lost")).await.unwrap();
    let reading = types(&reader, &["lost-1", "found-1"], SHORT);
    let read = replaced(&proxy, &client, &history("found"), reading).await;
    assert_eq!(read, ["Of.found"; 2]);
    // What is known is not asked for again.
    let lock = format!("BEGIN; LOCK TABLE {schema}.event_types");
    client.batch_execute(&lock).await.unwrap();
    assert_eq!(types(&reader, &["found-1"], SHORT).await, ["Of.found"; 2]);
}

/// More streams than are remembered, from anywhere, through every filter, for several readers at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_its_own_stream_and_type() {
    const STREAMS: u64 = 101_000;
    const EVENTS: u64 = 2 * STREAMS;
    let config = config();
    let store = config.connect().await.unwrap();
    let schema = schema(&config);
    // The second half of the log has the second event of each stream.
    let fill = format!(
        "INSERT INTO {schema}.streams
         SELECT i + 1, CASE WHEN i % 1000 = 999 THEN 'rare-' ELSE 'account-' END || i FROM generate_series(0, {STREAMS} - 1) i;
         INSERT INTO {schema}.event_types
         VALUES (1, 'account', 'Opened'), (2, 'account', 'Closed'), (3, 'rare', 'Opened'), (4, 'rare', 'Closed');
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT i + 1, 1 + i % {STREAMS}, 1 + i / {STREAMS}, 1 + i / {STREAMS} + CASE WHEN i % 1000 = 999 THEN 2 ELSE 0 END,
                gen_random_uuid(), now(), '1'
           FROM generate_series(0, {EVENTS} - 1) i;
         UPDATE {schema}.sequencer SET position = {EVENTS}"
    );
    raw().await.batch_execute(&fill).await.unwrap();
    let expected = |position: u64| {
        let number = (position - 1) % STREAMS;
        let category = if (position - 1) % 1000 == 999 {
            "rare"
        } else {
            "account"
        };
        let name = if position <= STREAMS {
            "Opened"
        } else {
            "Closed"
        };
        (format!("{category}-{number}"), name)
    };
    let filters = [
        EventFilter::All,
        EventFilter::any_of([EventSelector::category("rare")]),
        EventFilter::any_of([EventSelector::of_type("Closed")]),
        EventFilter::any_of([EventSelector::category("account").event_type("Opened")]),
    ];
    for after in [0, 150_000] {
        let readers = filters.iter().map(|filter| {
            let (store, filter) = (store.clone(), filter.clone());
            tokio::spawn(async move { (log(&store, after, &filter, 1024).await, filter) })
        });
        for reader in readers.collect::<Vec<_>>() {
            let (events, filter) = reader.await.unwrap();
            let wanted = (after + 1..=EVENTS).filter(|position| {
                let (stream, name) = expected(*position);
                filter.matches(&StreamId::new(stream).unwrap(), name)
            });
            let wanted: Vec<_> = wanted.collect();
            assert_eq!(events.len(), wanted.len(), "{filter:?} after {after}");
            for (event, position) in events.iter().zip(wanted) {
                let (stream, name) = expected(position);
                assert_eq!(
                    (
                        event.position.get(),
                        event.stream.as_str(),
                        &*event.type_name
                    ),
                    (position, stream.as_str(), name)
                );
            }
        }
    }
}

/// A page is fetched ahead of each of them, and nobody takes it.
#[tokio::test]
async fn readers_that_are_slow_keep_no_connection() {
    let store = config().pool_size(2).connect().await.unwrap();
    let append = async |category| {
        let commit = commit(CommitId::generate(), category, 0..2000, "Opened");
        store.append(commit).await.unwrap().position
    };
    append("a").await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut events = subscribe(&store, Position::START, EventFilter::All);
        assert_eq!(events.next().await.unwrap().unwrap().position.get(), 1);
        slow.push(events);
    }
    assert_eq!(append("b").await.get(), 4000);
    assert_eq!(log(&store, 0, &EventFilter::All, 1000).await.len(), 4000);
    for events in &mut slow {
        assert_eq!(events.next().await.unwrap().unwrap().position.get(), 2);
    }
}
