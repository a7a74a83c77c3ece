//! PostgreSQL under many writers in many processes: no hole, no deadlock, no write skew.
//!
//! `READER_SECONDS=60 scripts/postgres cargo test --release … --test postgres concurrency` runs the reader's test for a
//! minute; it is a few seconds otherwise.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command as Process, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use eventcore::{
    Command, CommandLogic, Event, EventFilter, EventStore, EventStoreError, ExecuteOptions,
    Position, RecordedEvent, RetryPolicy, StreamId, StreamKey, StreamResolver, Version, execute,
    postgres::{PostgresConfig, PostgresEventStore},
    store::{
        AppendRequest, CommitReceipt, ExpectedVersion, ReadFeedRequest, ReadStreamsRequest,
        StreamCursor,
    },
};
use serde::{Deserialize, Serialize};

use crate::{
    append::{commit, expected, noted},
    server::{self, url},
};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum AccountEvent {
    Deposited { amount: i64 },
    Withdrawn { amount: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

#[derive(Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
}

impl CommandLogic for Transfer {
    type State = ();
    type Error = std::convert::Infallible;

    fn apply(&self, (): &mut (), _: TransferEvent<'_>) {}

    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), Self::Error> {
        streams.from.append(AccountEvent::Withdrawn { amount: 1 });
        streams.to.append(AccountEvent::Deposited { amount: 1 });
        Ok(())
    }
}

/// Sweeps the balance of accounts that it finds one after another.
#[derive(Command)]
#[command(discovers(others: Vec<AccountId>))]
struct Sweep {
    #[stream]
    hub: AccountId,
    start: u64,
    count: u64,
}

impl CommandLogic for Sweep {
    type State = i64;
    type Error = std::convert::Infallible;

    fn apply(&self, seen: &mut i64, event: SweepEvent<'_>) {
        if let SweepEvent::Others((_, AccountEvent::Deposited { amount })) = event {
            *seen += amount;
        }
    }

    fn handle(&self, _: &i64, streams: SweepStreams<'_>) -> Result<(), Self::Error> {
        for (_, other) in &streams.others {
            other.append(AccountEvent::Deposited { amount: 1 });
        }
        streams.hub.append(AccountEvent::Deposited { amount: 0 });
        Ok(())
    }
}

impl StreamResolver for Sweep {
    fn discover_related_streams(&self, _: &i64, _: SweepKnownStreams<'_>) -> SweepDiscovered {
        // Windows that overlap, some upwards, some downwards.
        let window = self.start..self.start + self.count;
        let others: Vec<_> = if self.start.is_multiple_of(2) {
            window.map(AccountId).collect()
        } else {
            window.rev().map(AccountId).collect()
        };
        SweepDiscovered { others }
    }
}

fn stream(key: impl std::fmt::Display) -> StreamId {
    StreamId::new(format!("note-{key}")).unwrap()
}

fn expect(stream: &StreamId, version: u64) -> ExpectedVersion {
    expected(stream.as_str(), version)
}

fn request(
    expected: Vec<ExpectedVersion>,
    streams: impl IntoIterator<Item = usize>,
) -> AppendRequest {
    let events = streams.into_iter().map(|stream| noted(stream, "1"));
    commit(expected, events.collect())
}

async fn versions(store: &impl EventStore, streams: &[&StreamId]) -> Vec<u64> {
    let cursor = |stream: &&StreamId| StreamCursor::new((*stream).clone(), Version::EMPTY);
    let streams = streams.iter().map(cursor).collect();
    let page = store
        .read_streams(ReadStreamsRequest {
            streams,
            snapshot: None,
            limit: 1,
            idempotency_key: None,
        })
        .await
        .unwrap();
    page.versions()
        .iter()
        .map(|version| version.get())
        .collect()
}

async fn page(store: &impl EventStore, after: Position) -> Vec<RecordedEvent> {
    let request = ReadFeedRequest {
        after,
        filter: EventFilter::All,
        limit: 1000,
    };
    store.read_feed(request).await.unwrap().events
}

/// The whole log; its positions are 1 to n, its versions dense in every stream, its commits whole.
async fn whole_log(store: &impl EventStore) -> Vec<RecordedEvent> {
    let mut log: Vec<RecordedEvent> = Vec::new();
    let mut seen = std::collections::HashMap::new();
    loop {
        let page = page(
            store,
            log.last().map_or(Position::START, |event| event.position),
        )
        .await;
        if page.is_empty() {
            return log;
        }
        for event in page {
            assert_eq!(
                event.position.get(),
                log.len() as u64 + 1,
                "a hole in the log"
            );
            let version = seen.entry(event.stream.clone()).or_insert(0);
            *version += 1;
            assert_eq!(event.version.get(), *version, "a hole in {}", event.stream);
            log.push(event);
        }
    }
}

fn is_conflict(result: &Result<CommitReceipt, EventStoreError>) -> bool {
    match result {
        Ok(_) => false,
        Err(EventStoreError::VersionConflict(_)) => true,
        Err(other) => panic!("{other}"),
    }
}

/// Two stores with connections of their own: to the server the same as two processes.
async fn two_stores() -> [PostgresEventStore; 2] {
    let config = server::config();
    [
        config.connect().await.unwrap(),
        config.connect().await.unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crossing_transfers_and_overlapping_discovery_all_succeed() {
    let stores = two_stores().await;
    let policy = || {
        ExecuteOptions::from(RetryPolicy::new().max_attempts(1000)).deadline(Duration::from_mins(1))
    };
    let mut tasks = Vec::new();
    for task in 0..16_u64 {
        let (store, policy) = (stores[usize::from(task % 2 == 0)].clone(), policy());
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                let (a, b) = (AccountId(round % 3), AccountId(round % 3 + 1));
                let (from, to) = if task % 4 < 2 { (a, b) } else { (b, a) };
                execute(&store, Transfer { from, to }, policy.clone())
                    .await
                    .unwrap();
                let sweep = Sweep {
                    hub: AccountId(100 + task),
                    start: task % 5,
                    count: 4,
                };
                execute(&store, sweep, policy.clone()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let log = whole_log(&stores[0]).await;
    assert_eq!(log.len(), 160 * 2 + 160 * 5);
    let amounts = log
        .iter()
        .map(|event| event.decode::<AccountEvent>().unwrap());
    let total: i64 = amounts
        .map(|event| match event {
            AccountEvent::Deposited { amount } => amount,
            AccountEvent::Withdrawn { amount } => -amount,
        })
        .sum();
    assert_eq!(total, 160 * 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_commits_read_of_each_other_is_guarded() {
    let stores = two_stores().await;
    for round in 0..100 {
        let (a, b) = (
            stream(format_args!("a{round}")),
            stream(format_args!("b{round}")),
        );
        // On call: each sees the other there, and leaves. Only one may.
        let leaves =
            |own: &StreamId, other: &StreamId| request(vec![expect(own, 0), expect(other, 0)], [0]);
        let (one, other) = (leaves(&a, &b), leaves(&b, &a));
        let (one, other) = tokio::join!(stores[0].append(one), stores[1].append(other));
        assert!(
            is_conflict(&one) != is_conflict(&other),
            "write skew in round {round}: {one:?} {other:?}"
        );
        assert_eq!(versions(&stores[0], &[&a, &b]).await.iter().sum::<u64>(), 1);
        // The same within one batch of one process.
        let (c, d) = (
            stream(format_args!("c{round}")),
            stream(format_args!("d{round}")),
        );
        let (one, other) = (leaves(&c, &d), leaves(&d, &c));
        let (one, other) = tokio::join!(stores[0].append(one), stores[0].append(other));
        assert!(
            is_conflict(&one) != is_conflict(&other),
            "write skew in a batch: {one:?} {other:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_writes_nothing_sees_one_moment() {
    let [writing, checking] = two_stores().await;
    let (a, b) = (stream("a"), stream("b"));
    let writer = tokio::spawn({
        let (a, b) = (a.clone(), b.clone());
        async move {
            for version in 0..300 {
                writing
                    .append(request(
                        vec![expect(&a, version), expect(&b, version)],
                        [0, 1],
                    ))
                    .await
                    .unwrap();
            }
        }
    });
    let (mut held, mut failed) = (0, 0);
    while !writer.is_finished() {
        let version = versions(&checking, &[&a]).await[0];
        let expected = |b_version| vec![expect(&a, version), expect(&b, b_version)];
        match checking.append(request(expected(version), [])).await {
            Ok(appended) => {
                assert_eq!(
                    appended.position.get(),
                    version * 2,
                    "versions and position of two moments"
                );
                held += 1;
            }
            Err(error) => {
                assert!(is_conflict(&Err(error)));
                failed += 1;
            }
        }
        // The two only ever grow together.
        let torn = checking.append(request(expected(version + 1), [])).await;
        assert!(is_conflict(&torn), "half a commit was seen");
    }
    writer.await.unwrap();
    assert!(held > 0, "{held} held, {failed} failed");
    let end = checking
        .append(request(vec![expect(&a, 300), expect(&b, 300)], []))
        .await
        .unwrap();
    assert_eq!((end.position.get(), end.events), (600, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_in_one_process_and_another_share_hot_streams() {
    let stores = two_stores().await;
    let mut tasks = Vec::new();
    for task in 0..32 {
        let store = stores[task % 2].clone();
        tasks.push(tokio::spawn(async move {
            let (hot, mine) = (stream(format_args!("hot{}", task % 3)), stream(task));
            for mine_version in 0..10 {
                loop {
                    let version = versions(&store, &[&hot]).await[0];
                    let expected = vec![expect(&hot, version), expect(&mine, mine_version)];
                    if !is_conflict(&store.append(request(expected, [0, 1])).await) {
                        break;
                    }
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(whole_log(&stores[0]).await.len(), 640);
}

/// The arguments of a writing process: the schema, the time, and its number.
const WRITER: &str = "EVENTCORE_TEST_WRITER";

/// Not a test: a process of the test below, with 4 of the 16 writers.
#[test]
#[ignore = "started by another test as a process of its own"]
fn writer_process() {
    let task = std::env::var(WRITER)
        .expect("this is started by `a_reader_without_pause_sees_every_position`");
    let mut words = task.split(' ');
    let mut word = || words.next().expect("three words");
    let (schema, seconds, process): (_, f64, u64) =
        (word(), word().parse().unwrap(), word().parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let events = runtime.block_on(async {
        let config = PostgresConfig::new(&url()).unwrap();
        let config = server::patient(config.schema(schema).unwrap());
        let store = config.connect().await.unwrap();
        let store = Arc::new(store);
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    let (own, shared) = (
                        stream(format_args!("{process}-{writer}")),
                        stream(format_args!("shared{writer}")),
                    );
                    let (mut version, mut written) = (0_u64, 0_u64);
                    while Instant::now() < end {
                        let (events, pause) = match (process, writer) {
                            (0, 0) => (1000, 0),
                            (1, 0) => (2, 100),
                            _ => (1 + version % 3, 0),
                        };
                        // The shared stream is only looked at, or written to by the writers with the same number.
                        let of_shared = versions(&*store, &[&shared]).await[0];
                        let writes_shared = version.is_multiple_of(2);
                        let streams = (0..events).map(|_| 0).chain(writes_shared.then_some(1));
                        let commit = request(
                            vec![expect(&own, version), expect(&shared, of_shared)],
                            streams,
                        );
                        if !is_conflict(&store.append(commit).await) {
                            version += events;
                            written += events + u64::from(writes_shared);
                        }
                        tokio::time::sleep(Duration::from_millis(pause)).await;
                    }
                    written
                })
            })
            .collect();
        let mut total = 0;
        for writer in writers {
            total += writer.await.unwrap();
        }
        total
    });
    println!("\nWRITTEN {events}");
}

fn start_writer(schema: &str, seconds: f64, process: u64) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "concurrency::writer_process",
            "--ignored",
            "--nocapture",
        ])
        .env(WRITER, format!("{schema} {seconds} {process}"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Commits by hand, and takes them back: positions that were given out must be given out again.
async fn roll_back_until(end: Instant, schema: String) {
    let (client, connection) = tokio_postgres::connect(&url(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let append = format!(
        "BEGIN; SELECT * FROM {schema}.append(ARRAY['note-rolled-back'], ARRAY[1], ARRAY[1], ARRAY[0]::bigint[], NULL,
             ARRAY['018f0000-0000-7000-8000-000000000000']::uuid[], ARRAY[1], ARRAY[1], NULL, NULL, NULL,
             ARRAY['note'], ARRAY[1], ARRAY['Noted'], ARRAY[1], ARRAY[1], NULL, NULL, ARRAY[1],
             ARRAY['018f0000-0000-7000-8000-000000000001']::uuid[], ARRAY['1']::json[]); ROLLBACK"
    );
    while Instant::now() < end {
        client.batch_execute(&append).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_without_pause_sees_every_position() {
    let seconds: f64 = std::env::var("READER_SECONDS").map_or(3.0, |text| text.parse().unwrap());
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    let config = PostgresConfig::new(&url()).unwrap();
    let config = server::patient(config.schema(&schema).unwrap());
    let store = config.connect().await.unwrap();
    let mut writers: Vec<_> = (0..4)
        .map(|process| start_writer(&schema, seconds, process))
        .collect();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let rolled_back = tokio::spawn(roll_back_until(end, schema));
    let (mut after, mut polls) = (Position::START, 0_u64);
    loop {
        // Asked before the page is read, so that the last page is read after the last commit.
        let last = writers
            .iter_mut()
            .all(|writer| matches!(writer.try_wait(), Ok(Some(_))));
        let events = page(&store, after).await;
        for event in &events {
            assert_eq!(
                event.position,
                after.plus(1),
                "an event was missed, or came late"
            );
            after = event.position;
        }
        polls += 1;
        if last && events.is_empty() {
            break;
        }
    }
    rolled_back.await.unwrap();
    let mut written = 0;
    for mut writer in writers {
        let said = BufReader::new(writer.stdout.take().unwrap());
        let line = said
            .lines()
            .map(Result::unwrap)
            .find(|line| line.starts_with("WRITTEN "));
        written += line.expect("a writer failed")[8..].parse::<u64>().unwrap();
        assert!(writer.wait().unwrap().success());
    }
    assert_eq!(
        after.get(),
        written,
        "what was acknowledged and what is there differ"
    );
    let log = whole_log(&store).await;
    assert_eq!(log.len() as u64, written);
    assert!(
        log.iter()
            .all(|event| event.stream.as_str() != "note-rolled-back")
    );
    println!(
        "{written} events by 16 writers, read in {polls} polls, rolled back in between: no hole"
    );
}
