//! Group commit, batch by batch, compared with a model that makes one commit at a time; with other
//! writers to the file, a locked file, a full disk and a COMMIT that fails.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use proptest::prelude::*;

use super::*;
use crate::{
    Version,
    event::{CommitId, EventId, Metadata},
    sqlite::{read::notify::Watch, schema, write::transaction::CACHE},
    store::{ExpectedVersion, IdempotencyKey, NewEvent, StreamHead, VersionConflict},
};

/// The number of streams.
const STREAMS: u64 = 6;
/// A stream's events have the type with the stream's number, modulo the number of types.
const TYPES: [&str; 4] = ["Wrote", "Drew", "Sang", "Danced"];

struct File {
    path: PathBuf,
    _folder: tempfile::TempDir,
    watch: Watch,
    fails: Arc<AtomicBool>,
    waits: Arc<AtomicUsize>,
    ids: StreamIds,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        Self {
            watch: Watch::start(path.clone()).unwrap(),
            path,
            _folder: folder,
            fails: Arc::default(),
            waits: Arc::default(),
            ids: StreamIds::default(),
        }
    }

    /// Creates a writer that does not wait for locks and whose COMMIT fails on demand.
    fn writer(&self) -> Writer {
        let mut connection = schema::open(&self.path).unwrap();
        let (waits, fails) = (self.waits.clone(), self.fails.clone());
        let wait = move |_| {
            waits.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.busy_handler(Some(wait)).unwrap();
        let fail = move || fails.load(Ordering::Relaxed);
        connection.commit_hook(Some(fail)).unwrap();
        let disk = Disk::default();
        Writer::new(
            connection,
            &self.path,
            self.watch.publisher(),
            disk,
            self.ids.clone(),
        )
        .unwrap()
    }

    fn sql(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }
}

type Answer = Result<CommitReceipt, EventStoreError>;

fn batch(writer: &mut Writer, requests: Vec<AppendRequest>) -> Vec<Answer> {
    let ids = writer.ids.clone();
    let job = |request| {
        let (reply, answer) = oneshot::channel();
        (Job::new(request, &ids, reply), answer)
    };
    let (jobs, answers): (Vec<_>, Vec<_>) = requests.into_iter().map(job).unzip();
    writer.batch(jobs);
    let answer = |mut answer: oneshot::Receiver<Answer>| answer.try_recv().unwrap();
    answers.into_iter().map(answer).collect()
}

fn request(
    expected: &[(u64, u64)],
    written: usize,
    length: usize,
    key: Option<u8>,
) -> AppendRequest {
    let expect = |(stream, version): &(u64, u64)| ExpectedVersion {
        stream: stream_id(*stream),
        version: Version::new(*version),
        event_id: None,
    };
    expecting(expected.iter().map(expect).collect(), written, length, key)
}

fn stream_id(stream: u64) -> StreamId {
    StreamId::new(format!("s-{stream}")).unwrap()
}

fn expecting(
    expected: Vec<ExpectedVersion>,
    written: usize,
    length: usize,
    key: Option<u8>,
) -> AppendRequest {
    let number = |stream: usize| expected[stream].stream.key().parse::<usize>().unwrap();
    let event = |stream| NewEvent {
        stream,
        type_name: TYPES[number(stream) % TYPES.len()],
        payload: format!("\"{}\"", "x".repeat(length)).into(),
    };
    let events = (0..written.min(expected.len())).map(event).collect();
    AppendRequest::new(
        CommitId::generate(),
        expected,
        events,
        Metadata::default(),
        key.map(|key| IdempotencyKey::new(format!("key-{key}")).unwrap()),
    )
    .unwrap()
}

#[test]
fn all_that_are_queued_wait_once_for_a_locked_file() {
    let file = File::new();
    let mut writer = file.writer();
    let requests = || {
        (0..20)
            .map(|number| request(&[(number, 0)], 1, 5, None))
            .collect()
    };
    let locked = file.sql();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    for refused in batch(&mut writer, requests()) {
        assert!(
            matches!(refused, Err(EventStoreError::Busy { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(file.waits.load(Ordering::Relaxed), 1);
    locked.execute_batch("ROLLBACK").unwrap();
    assert!(batch(&mut writer, requests()).iter().all(Result::is_ok));
}

#[test]
fn the_error_of_a_commit_names_the_file() {
    let file = File::new();
    let mut writer = file.writer();
    writer
        .connection
        .pragma_update(None, "query_only", true)
        .unwrap();
    match &batch(&mut writer, vec![request(&[(1, 0)], 1, 5, None)])[0] {
        Err(EventStoreError::ReadOnly { location, .. }) => {
            assert!(location.ends_with("events.db"), "{location}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn heads_are_remembered_from_batch_to_batch_and_not_without_end() {
    let file = File::new();
    let mut writer = file.writer();
    let next = |writer: &mut Writer, number| {
        assert!(batch(writer, vec![request(&[(number, 0)], 1, 5, None)])[0].is_ok());
        writer.cache.heads.len()
    };
    for number in 0..3 {
        assert_eq!(next(&mut writer, number), number as usize + 1);
    }
    let heads = (0_i64..)
        .take(CACHE + 1)
        .map(|stream| (stream + 1000, StreamHead::EMPTY));
    writer.cache.heads.extend(heads);
    assert_eq!(next(&mut writer, 3), 1);
}

#[test]
fn a_caller_that_is_gone_before_its_turn_gets_nothing_written() {
    let file = File::new();
    let (jobs, queue) = mpsc::channel(3);
    let mut answers = Vec::new();
    for number in 0..3 {
        let (reply, answer) = oneshot::channel();
        let request = request(&[(number, 0)], 1, 5, None);
        let job = Job::new(request, &file.ids, reply);
        let queued = jobs.try_send(Message::Append(job));
        assert!(queued.is_ok());
        answers.push(answer);
    }
    drop((answers.remove(1), jobs));
    file.writer().run(queue);
    let streams = log(&file).into_iter().map(|(stream, ..)| stream);
    assert_eq!(streams.collect::<Vec<_>>(), ["s-0", "s-2"]);
}

/// A planned commit, relative to the model when the commit is run.
#[derive(Debug, Clone)]
struct Commit {
    /// Streams, the offset of the expected version (mostly 0), and the event expected there.
    streams: Vec<(u64, (i64, Named))>,
    written: usize,
    length: usize,
    key: Option<u8>,
    /// Repeats one of the earlier commits instead of making a new one.
    again: Option<prop::sample::Index>,
}

/// The event that a commit expects at the expected version.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// Any event.
    Nothing,
    /// The last event of the stream.
    Last,
    /// An event that does not exist.
    Another,
}

#[derive(Debug, Clone)]
enum Fault {
    None,
    /// Another connection holds the lock.
    Locked,
    /// The file may grow by this many pages only.
    Full(u32),
    CommitFails,
}

#[derive(Debug, Clone)]
struct Round {
    /// Another process writes to this stream first.
    other: Option<u64>,
    fault: Fault,
    commits: Vec<Commit>,
}

fn commit() -> impl Strategy<Value = Commit> {
    let off = prop_oneof![8 => Just(0), 1 => Just(-1_i64), 1 => Just(1)];
    let named =
        prop_oneof![4 => Just(Named::Nothing), 8 => Just(Named::Last), 1 => Just(Named::Another)];
    (
        prop::collection::btree_map(0..STREAMS, (off, named), 1..4),
        0..4_usize,
        prop_oneof![4 => Just(5_usize), 1 => Just(9_000)],
        prop::option::weighted(0.2, 0..4_u8),
        prop::option::weighted(0.15, any::<prop::sample::Index>()),
    )
        .prop_map(|(streams, written, length, key, again)| Commit {
            streams: streams.into_iter().collect(),
            written,
            length,
            key,
            again,
        })
}

fn round() -> impl Strategy<Value = Round> {
    let fault = prop_oneof![
        5 => Just(Fault::None),
        1 => Just(Fault::Locked),
        2 => (0..12_u32).prop_map(Fault::Full),
        1 => Just(Fault::CommitFails),
    ];
    let other = prop::option::weighted(0.3, 0..STREAMS);
    (other, fault, prop::collection::vec(commit(), 1..8)).prop_map(|(other, fault, commits)| {
        Round {
            other,
            fault,
            commits,
        }
    })
}

/// A store without a file that makes one commit at a time.
#[derive(Clone, Default)]
struct Model {
    /// The stream, version and id of each event, in commit order.
    log: Vec<(String, u64, EventId)>,
    keys: HashMap<String, (CommitReceipt, CommitId)>,
}

impl Model {
    fn head(&self, stream: &str) -> StreamHead {
        let of_stream = |(of, ..): &&(String, u64, EventId)| of == stream;
        let last = self.log.iter().rev().find(of_stream);
        last.map_or(StreamHead::EMPTY, |(_, version, id)| {
            StreamHead::new(Version::new(*version), *id)
        })
    }

    fn version(&self, stream: &str) -> u64 {
        self.head(stream).version().get()
    }

    fn position(&self) -> Position {
        Position::new(self.log.len() as u64)
    }

    fn append(&mut self, request: &AppendRequest) -> Result<CommitReceipt, VersionConflict> {
        let key = request.idempotency_key().map(|key| key.as_str().to_owned());
        if let Some((appended, id)) = key.as_ref().and_then(|key| self.keys.get(key)) {
            let repeated = *id != request.commit_id();
            return Ok(CommitReceipt {
                repeated,
                ..*appended
            });
        }
        for expected in request.expected() {
            let head = self.head(expected.stream.as_str());
            let named = expected.event_id.is_none() || expected.event_id == head.event_id();
            if head.version() == expected.version && named {
                continue;
            }
            let (first, events) = (request.event_id(0), request.events().len());
            let own = self
                .log
                .iter()
                .position(|(.., id)| events > 0 && *id == first);
            return match own {
                Some(before) => Ok(CommitReceipt {
                    position: Position::new((before + events) as u64),
                    events,
                    repeated: false,
                }),
                None => Err(VersionConflict {
                    stream: expected.stream.clone(),
                    expected: expected.version,
                    actual: head.version(),
                }),
            };
        }
        for (number, event) in request.events().iter().enumerate() {
            let stream = request.expected()[event.stream].stream.to_string();
            let version = self.version(&stream) + 1;
            self.log.push((stream, version, request.event_id(number)));
        }
        let appended = CommitReceipt {
            position: self.position(),
            events: request.events().len(),
            repeated: false,
        };
        if let Some(key) = key {
            self.keys
                .insert(key, (appended.clone(), request.commit_id()));
        }
        Ok(appended)
    }
}

fn log(file: &File) -> Vec<(String, u64, EventId)> {
    let sql = "SELECT s.name, e.version, e.event_id, e.position, t.name FROM events e
                 JOIN streams s ON s.id = e.stream JOIN event_types t ON t.id = e.type ORDER BY e.position";
    let connection = file.sql();
    let mut statement = connection.prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let (stream, event_type): (String, String) = (row.get(0)?, row.get(4)?);
        let number: usize = stream["s-".len()..].parse().unwrap();
        assert_eq!(event_type, TYPES[number % TYPES.len()], "of {stream}");
        let id = EventId::from_uuid(uuid::Uuid::from_bytes(row.get(2)?));
        Ok(((stream, row.get(1)?, id), row.get::<_, u64>(3)?))
    };
    let rows: Vec<_> = statement
        .query_map([], read)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (number, (_, position)) in (1..).zip(&rows) {
        assert_eq!(*position, number, "the positions are not dense");
    }
    rows.into_iter().map(|(row, _)| row).collect()
}

/// Checks that the readers' cached stream ids are those of the file.
fn assert_ids_are_those_of_the_file(file: &File) {
    let sql = "SELECT name, id FROM streams";
    let connection = file.sql();
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let rows: HashMap<String, i64> = rows.unwrap().map(Result::unwrap).collect();
    for number in 0..STREAMS {
        let stream = StreamId::new(format!("s-{number}")).unwrap();
        assert_eq!(file.ids.get(&stream).as_ref(), rows.get(stream.as_str()));
    }
}

/// Limits the file to this many pages.
fn allow_pages(writer: &Writer, pages: u32) {
    writer
        .connection
        .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        .unwrap();
}

fn play(rounds: Vec<Round>) -> Result<(), TestCaseError> {
    let file = File::new();
    let (mut writer, mut other) = (file.writer(), file.writer());
    let (mut model, mut sent) = (Model::default(), Vec::<AppendRequest>::new());
    for round in rounds {
        if let Some(stream) = round.other {
            let version = model.version(&format!("s-{stream}"));
            let request = request(&[(stream, version)], 1, 5, None);
            model.append(&request).unwrap();
            prop_assert!(batch(&mut other, vec![request])[0].is_ok());
        }
        // The expected result if nothing fails.
        let mut expected = model.clone();
        let mut requests = Vec::new();
        for commit in round.commits {
            let request = match commit.again {
                Some(index) if !sent.is_empty() => index.get(&sent).clone(),
                _ => {
                    let expect = |(stream, (off, named)): &(u64, (i64, Named))| {
                        let held = expected.head(&format!("s-{stream}"));
                        let version = held.version().get().saturating_add_signed(*off);
                        ExpectedVersion {
                            stream: stream_id(*stream),
                            version: Version::new(version),
                            event_id: match named {
                                Named::Nothing => None,
                                Named::Last => held.event_id(),
                                Named::Another => Some(CommitId::generate().event(0)),
                            },
                        }
                    };
                    let streams = commit.streams.iter().map(expect).collect();
                    expecting(streams, commit.written, commit.length, commit.key)
                }
            };
            let _ = expected.append(&request);
            requests.push(request);
        }
        sent.extend(requests.iter().cloned());
        let locked = file.sql();
        match round.fault {
            Fault::None => {}
            Fault::Locked => locked.execute_batch("BEGIN IMMEDIATE").unwrap(),
            Fault::Full(more) => {
                let pages: u32 = locked
                    .query_row("PRAGMA page_count", [], |row| row.get(0))
                    .unwrap();
                allow_pages(&writer, pages + more);
            }
            Fault::CommitFails => file.fails.store(true, Ordering::Relaxed),
        }
        let answers = batch(&mut writer, requests.clone());
        let _ = locked.execute_batch("ROLLBACK");
        file.fails.store(false, Ordering::Relaxed);
        allow_pages(&writer, u32::MAX - 1);
        for (request, answer) in requests.iter().zip(answers) {
            match (&round.fault, answer) {
                (Fault::Locked, Err(EventStoreError::Busy { .. }))
                | (Fault::Full(_), Err(EventStoreError::StorageFull { .. }))
                | (Fault::CommitFails, Err(EventStoreError::OutcomeUnknown { .. })) => {}
                (Fault::Locked | Fault::CommitFails, answer) => {
                    prop_assert!(false, "{:?}: {:?}", round.fault, answer);
                }
                (_, Ok(appended)) => {
                    let wanted = model.append(request);
                    prop_assert!(
                        wanted.as_ref() == Ok(&appended),
                        "{:?}, not {:?}",
                        appended,
                        wanted
                    );
                }
                (_, Err(EventStoreError::VersionConflict(conflict))) => {
                    prop_assert_eq!(model.append(request), Err(conflict));
                }
                (_, Err(error)) => prop_assert!(false, "{}", error),
            }
        }
        prop_assert_eq!(log(&file), model.log.clone());
        assert_ids_are_those_of_the_file(&file);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_batch_is_as_good_as_one_commit_after_the_other(rounds in prop::collection::vec(round(), 1..10)) {
        play(rounds)?;
    }
}
