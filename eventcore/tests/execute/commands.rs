//! Commands on real stores: contention, bad input, idempotency, a long stream.

use std::{convert::Infallible, sync::Arc};

use eventcore::{
    Command, CommandError, CommandLogic, CommitId, DeclarationError, DecodeError, EncodeError,
    Event, EventFilter, EventStore, ExecuteOptions, IdempotencyKey, Metadata, Position,
    RetryPolicy, StreamId, StreamIdError, StreamKey, StreamResolver, Version, execute,
    execute::{ExecutePipeline, Step},
    memory::MemoryEventStore,
    sqlite::SqliteEventStore,
    store::{AppendRequest, ExpectedVersion, NewEvent, ReadFeedRequest},
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum NoteEvent {
    Counted,
    Measured { value: f64, maybe: Option<f64> },
    Written { text: String },
    Deep { nested: Vec<serde_json::Value> },
    Linked { to: u64 },
}

#[derive(Debug, Clone, PartialEq, StreamKey)]
#[stream_key(category = "note", event = NoteEvent)]
struct NoteId(String);

fn id(key: impl std::fmt::Display) -> NoteId {
    NoteId(key.to_string())
}

#[derive(Command)]
struct Append {
    #[stream]
    note: NoteId,
    #[stream]
    other: Option<NoteId>,
    event: NoteEvent,
}

impl CommandLogic for Append {
    type State = u64;
    type Error = Infallible;

    fn apply(&self, count: &mut u64, _: AppendEvent<'_>) {
        *count += 1;
    }

    fn handle(&self, _: &u64, streams: AppendStreams<'_>) -> Result<(), Infallible> {
        streams.note.append(NoteEvent::Counted);
        streams.note.append(self.event.clone());
        if let Some(other) = streams.other {
            other.append(NoteEvent::Counted);
        }
        Ok(())
    }
}

fn append(event: NoteEvent) -> Append {
    Append {
        note: id(1),
        other: None,
        event,
    }
}

/// Follows links from stream to stream, to their end or for ever.
#[derive(Command)]
#[command(discovers(linked: Vec<NoteId>))]
struct Follow {
    #[stream]
    note: NoteId,
    flip: bool,
}

impl CommandLogic for Follow {
    type State = Vec<u64>;
    type Error = Infallible;

    fn apply(&self, links: &mut Vec<u64>, event: FollowEvent<'_>) {
        let (FollowEvent::Note(event) | FollowEvent::Linked((_, event))) = event;
        if let NoteEvent::Linked { to } = event {
            links.push(to);
        }
    }

    fn handle(&self, links: &Vec<u64>, streams: FollowStreams<'_>) -> Result<(), Infallible> {
        streams.note.append(NoteEvent::Measured {
            value: links.len() as f64,
            maybe: None,
        });
        Ok(())
    }
}

impl StreamResolver for Follow {
    fn discover_related_streams(
        &self,
        links: &Vec<u64>,
        _: FollowKnownStreams<'_>,
    ) -> FollowDiscovered {
        // With `flip`, the answer is never the same twice running.
        let linked = if self.flip && links.len() > 1 {
            vec![]
        } else {
            links.iter().map(id).collect()
        };
        FollowDiscovered { linked }
    }
}

/// Both stores, so that every verdict is seen to be the same.
async fn stores() -> Vec<Arc<dyn EventStore>> {
    let path = tempfile::tempdir().unwrap().keep().join("notes.db");
    vec![
        Arc::new(MemoryEventStore::new()),
        Arc::new(SqliteEventStore::open(path).await.unwrap()),
    ]
}

async fn count(store: &impl EventStore) -> usize {
    store
        .read_feed(ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 1000,
        })
        .await
        .unwrap()
        .events
        .len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_tasks_on_one_stream_all_succeed() {
    for store in stores().await {
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let store = store.clone();
                // The default, but for a disk that is very slow.
                let policy = RetryPolicy::new().deadline(std::time::Duration::from_mins(10));
                tokio::spawn(async move {
                    for _ in 0..20 {
                        execute(&store, append(NoteEvent::Counted), policy.clone())
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let done = execute(&store, append(NoteEvent::Counted), RetryPolicy::new())
            .await
            .unwrap();
        assert_eq!(done.position(), Position::new(32 * 20 * 2 + 2));
    }
}

/// On a large stack: cloning and dropping a value of 5,000 levels is recursive, storing it is not.
#[test]
fn events_that_could_not_be_read_again_are_refused_and_nothing_is_written() {
    let test = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(refuses_unreadable_events());
    };
    let thread = std::thread::Builder::new().stack_size(256 * 1024 * 1024);
    thread.spawn(test).unwrap().join().unwrap();
}

type Why = fn(&EncodeError) -> bool;

async fn refuses_unreadable_events() {
    let nested = |levels| {
        let mut value = serde_json::Value::Null;
        for _ in 0..levels {
            value = serde_json::Value::Array(vec![value]);
        }
        NoteEvent::Deep {
            nested: vec![value],
        }
    };
    let not_finite: Why = |error| matches!(error, EncodeError::NotFinite { .. });
    let too_deep: Why = |error| matches!(error, EncodeError::TooDeep { max: 127 });
    let too_large: Why = |error| matches!(error, EncodeError::TooLarge { .. });
    let measured = |value, maybe| NoteEvent::Measured { value, maybe };
    let written = |len| NoteEvent::Written {
        text: "x".repeat(len),
    };
    // The object and the list around it are two levels more.
    let bad = [
        (measured(f64::NAN, None), not_finite),
        (measured(f64::INFINITY, None), not_finite),
        (measured(f64::NEG_INFINITY, None), not_finite),
        (measured(1.0, Some(f64::NAN)), not_finite),
        (nested(126), too_deep),
        (nested(5_000), too_deep),
        (written(300 * 1024 * 1024), too_large),
    ];
    for store in stores().await {
        for (event, is_why) in &bad {
            let error = execute(&store, append(event.clone()), RetryPolicy::new())
                .await
                .unwrap_err();
            match &error {
                CommandError::UnstorableEvent {
                    field,
                    stream,
                    source,
                    ..
                } => {
                    assert_eq!((*field, stream.as_str()), ("note", "note-1"));
                    assert!(is_why(source), "{error}");
                }
                other => panic!("{other}"),
            }
            assert_eq!(count(&store).await, 0, "{error}");
        }
        let done = execute(&store, append(nested(125)), RetryPolicy::new()).await;
        assert_eq!(done.unwrap().position(), Position::new(2));
        let request = ReadFeedRequest {
            after: Position::new(1),
            filter: EventFilter::All,
            limit: 1,
        };
        let log = store.read_feed(request).await.unwrap().events;
        assert_eq!(log[0].decode::<NoteEvent>().unwrap(), nested(125));
        for value in [f64::MAX, f64::MIN_POSITIVE, -0.0, 0.1 + 0.2, 5e-324] {
            let event = NoteEvent::Measured {
                value,
                maybe: Some(value),
            };
            let done = execute(&store, append(event), RetryPolicy::new())
                .await
                .unwrap();
            let after = Position::new(done.position().get() - 1);
            let log = store
                .read_feed(ReadFeedRequest {
                    after,
                    filter: EventFilter::All,
                    limit: 1,
                })
                .await
                .unwrap()
                .events;
            match log[0].decode().unwrap() {
                NoteEvent::Measured {
                    value: read,
                    maybe: Some(maybe),
                } => {
                    assert_eq!(
                        (read.to_bits(), maybe.to_bits()),
                        (value.to_bits(), value.to_bits())
                    );
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn bad_stream_ids_are_refused_before_any_io() {
    use StreamIdError as E;
    let long = "k".repeat(251);
    let forbidden = |found, index| E::ForbiddenCharacter { found, index };
    for (key, why) in [
        ("", E::EmptyKey { id: "note-".into() }),
        ("a\0b", forbidden('\0', 6)),
        ("a\nb", forbidden('\n', 6)),
        ("a\u{7f}b", forbidden('\u{7f}', 6)),
        ("a*b", forbidden('*', 6)),
        ("a?", forbidden('?', 6)),
        ("[a]", forbidden('[', 5)),
        ("{a}", forbidden('{', 5)),
        (long.as_str(), E::TooLong { chars: 256 }),
    ] {
        for store in stores().await {
            let command = Append {
                note: id(1),
                other: Some(id(key)),
                event: NoteEvent::Counted,
            };
            match execute(&store, command, RetryPolicy::new())
                .await
                .unwrap_err()
            {
                CommandError::Declaration(DeclarationError::InvalidStreamId {
                    field: "other",
                    source,
                }) => assert_eq!(source, why),
                other => panic!("{key:?}: {other}"),
            }
            assert_eq!(count(&store).await, 0, "{key:?}");
        }
    }
    assert!(
        StreamId::new(format!("note-{}", "ü".repeat(250))).is_ok(),
        "255 characters, not bytes"
    );
}

#[tokio::test]
async fn a_stream_in_two_fields_is_refused_and_both_are_named() {
    for store in stores().await {
        let command = Append {
            note: id(1),
            other: Some(id(1)),
            event: NoteEvent::Counted,
        };
        match execute(&store, command, RetryPolicy::new())
            .await
            .unwrap_err()
        {
            CommandError::Declaration(DeclarationError::DuplicateStream {
                stream,
                first,
                second,
            }) => {
                assert_eq!(
                    (stream.as_str(), first, second),
                    ("note-1", "note", "other")
                );
            }
            other => panic!("{other}"),
        }
        assert_eq!(count(&store).await, 0);
    }
}

/// Appends a raw event behind the back of the types.
async fn plant(store: &impl EventStore, stream: &str, type_name: &'static str, payload: &str) {
    let stream = StreamId::new(stream).unwrap();
    let version = count_of(store, &stream).await;
    let event = NewEvent {
        stream: 0,
        type_name,
        payload: payload.to_owned().into(),
    };
    let expected = vec![ExpectedVersion {
        stream,
        version: Version::new(version),
        event_id: None,
    }];
    let request = AppendRequest::new(
        CommitId::generate(),
        expected,
        vec![event],
        Metadata::default(),
        None,
    );
    store.append(request.unwrap()).await.unwrap();
}

async fn count_of(store: &impl EventStore, stream: &StreamId) -> u64 {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::Stream(stream.clone()),
        limit: 1000,
    };
    store.read_feed(request).await.unwrap().events.len() as u64
}

#[tokio::test]
async fn stored_events_that_cannot_be_read_are_named_and_never_skipped() {
    for (type_name, payload) in [
        ("NoteBurnt", "{}"),
        ("NoteWritten", "{}"),
        ("NoteWritten", "{\"text\":7}"),
    ] {
        for store in stores().await {
            plant(&store, "note-0", "NoteCounted", "{}").await;
            plant(&store, "note-1", "NoteCounted", "{}").await;
            plant(&store, "note-1", type_name, payload).await;
            let error = execute(&store, append(NoteEvent::Counted), RetryPolicy::new())
                .await
                .unwrap_err();
            match &error {
                CommandError::UnreadableEvent {
                    stream,
                    version,
                    position,
                    type_name: found,
                    source,
                } => {
                    assert_eq!(
                        (stream.as_str(), version.get(), position.get()),
                        ("note-1", 2, 3)
                    );
                    assert_eq!(found, type_name);
                    let unknown = matches!(source, DecodeError::UnknownType { .. });
                    assert_eq!(unknown, type_name == "NoteBurnt");
                }
                other => panic!("{other}"),
            }
            assert_eq!(count(&store).await, 3);
        }
    }
}

#[tokio::test]
async fn discovery_follows_links_to_their_end_and_stops_where_there_is_none() {
    for store in stores().await {
        for n in 1..50 {
            plant(
                &store,
                &format!("note-{n}"),
                "NoteLinked",
                &format!("{{\"to\":{}}}", n + 1),
            )
            .await;
        }
        let follow = |flip| Follow { note: id(1), flip };
        let done = execute(&store, follow(false), RetryPolicy::new())
            .await
            .unwrap();
        let log = store.read_feed(ReadFeedRequest {
            after: Position::new(done.position().get() - 1),
            filter: EventFilter::All,
            limit: 1,
        });
        let last = log.await.unwrap().events[0].decode::<NoteEvent>().unwrap();
        assert_eq!(
            last,
            NoteEvent::Measured {
                value: 49.0,
                maybe: None
            },
            "not all links were folded"
        );

        let limited = ExecuteOptions::new().max_streams(20);
        match execute(&store, follow(false), limited).await.unwrap_err() {
            CommandError::TooManyStreams {
                streams: 21,
                limit: 20,
            } => {}
            other => panic!("{other}"),
        }
        let limited = ExecuteOptions::new().max_streams(20);
        match execute(&store, follow(true), limited).await.unwrap_err() {
            // One round more than there may be streams: each of those that settle reads one.
            CommandError::DiscoveryUnsettled { rounds: 21 } => {}
            other => panic!("{other}"),
        }
        // The links and the one command that ended.
        assert_eq!(count(&store).await, 50);
    }
}

#[tokio::test]
async fn a_command_with_an_idempotency_key_runs_once() {
    for store in stores().await {
        let options =
            || ExecuteOptions::new().idempotency_key(IdempotencyKey::new("request-7").unwrap());
        let first = execute(&store, append(NoteEvent::Counted), options())
            .await
            .unwrap();
        execute(&store, append(NoteEvent::Counted), RetryPolicy::new())
            .await
            .unwrap();
        let again = execute(&store, append(NoteEvent::Counted), options())
            .await
            .unwrap();
        assert_eq!(
            (again.position(), again.events_written()),
            (first.position(), first.events_written())
        );
        assert!(again.is_repeated() && !first.is_repeated());
        let written = [(StreamId::new("note-1").unwrap(), Version::new(2))];
        assert_eq!(first.versions().as_deref(), Some(&written[..]));
        assert_eq!(again.versions(), None, "of another execution");
        assert_eq!(count(&store).await, 4);
    }
}

#[tokio::test]
async fn metadata_is_stored_with_every_event() {
    for store in stores().await {
        let options = ExecuteOptions::new()
            .correlation_id("checkout-3")
            .causation_id("click-9")
            .user_metadata(serde_json::json!({ "by": "ada" }));
        execute(&store, append(NoteEvent::Counted), options)
            .await
            .unwrap();
        for event in store
            .read_feed(ReadFeedRequest {
                after: Position::START,
                filter: EventFilter::All,
                limit: 10,
            })
            .await
            .unwrap()
            .events
        {
            assert_eq!(event.metadata.correlation_id.as_deref(), Some("checkout-3"));
            assert_eq!(event.metadata.causation_id.as_deref(), Some("click-9"));
            assert_eq!(
                event.metadata.user,
                Some(serde_json::json!({ "by": "ada" }))
            );
        }
    }
}

/// A retry reads what is new, not the whole stream again, and folds it onto what it has.
#[tokio::test]
async fn a_retry_reads_on_from_where_it_was() {
    let started = std::time::Duration::ZERO;
    for store in stores().await {
        for _ in 0..5 {
            plant(&store, "note-1", "NoteCounted", "{}").await;
        }
        let id = CommitId::generate();
        let pipeline = ExecutePipeline::new(append(NoteEvent::Counted), ExecuteOptions::new(), id);
        let mut step = pipeline.start();
        let (mut read_events, mut conflicts) = (Vec::new(), 0);
        let done = loop {
            step = match step {
                Step::ReadStreams(read) => {
                    let page = store.read_streams(read.request().clone()).await.unwrap();
                    read_events.push(page.events.len());
                    read.resume(Ok(page), started)
                }
                Step::Append(commit) => {
                    if conflicts < 3 {
                        plant(&store, "note-1", "NoteCounted", "{}").await;
                        plant(&store, "note-1", "NoteCounted", "{}").await;
                        conflicts += 1;
                    }
                    let appended = store.append(commit.request().clone()).await;
                    commit.resume(appended, started)
                }
                Step::Sleep(sleep) => sleep.resume(),
                Step::Done { result, .. } => break result.unwrap(),
            };
        };
        assert_eq!(read_events, [5, 2, 2, 2]);
        assert_eq!(
            done.versions().unwrap(),
            [(StreamId::new("note-1").unwrap(), Version::new(13))]
        );
    }
}

/// A damaged file can hold what an append refuses.
#[tokio::test]
async fn stored_json_that_is_broken_is_named_and_never_skipped() {
    let path = tempfile::tempdir().unwrap().keep().join("notes.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    plant(&store, "note-1", "NoteCounted", "{}").await;
    plant(&store, "note-1", "NoteWritten", "{\"text\":\"x\"}").await;
    let file = rusqlite::Connection::open(&path).unwrap();
    let damage = "DROP TRIGGER events_no_UPDATE; UPDATE events SET payload = '{\"text\":' WHERE position = 2";
    file.execute_batch(damage).unwrap();
    let error = execute(&store, append(NoteEvent::Counted), RetryPolicy::new())
        .await
        .unwrap_err();
    match error {
        CommandError::UnreadableEvent {
            version,
            source: DecodeError::InvalidPayload { .. },
            ..
        } => assert_eq!(version.get(), 2),
        other => panic!("{other}"),
    }
    assert_eq!(count(&store).await, 2);
}

#[tokio::test]
async fn a_stream_twice_in_one_field_is_said_so() {
    #[derive(Command)]
    struct Many {
        #[stream]
        notes: Vec<NoteId>,
    }

    impl CommandLogic for Many {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), _: ManyEvent<'_>) {}

        fn handle(&self, (): &(), _: ManyStreams<'_>) -> Result<(), Infallible> {
            Ok(())
        }
    }

    let notes = vec![id(1), id(1)];
    let error = execute(&MemoryEventStore::new(), Many { notes }, RetryPolicy::new())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "stream `note-1` is declared twice in `notes`; a command names each stream once: check the input, or leave it out of \
         `notes`"
    );
}

/// It is up to the command whether it wants one: `handle` sees that there is none.
#[tokio::test]
async fn a_field_without_a_stream_declares_none() {
    #[derive(Command)]
    struct Sweep {
        #[stream]
        notes: Vec<NoteId>,
        #[stream]
        log: Option<NoteId>,
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("nothing to sweep")]
    struct NothingToSweep;

    impl CommandLogic for Sweep {
        type State = usize;
        type Error = NothingToSweep;

        fn apply(&self, events: &mut usize, _: SweepEvent<'_>) {
            *events += 1;
        }

        fn handle(&self, events: &usize, streams: SweepStreams<'_>) -> Result<(), NothingToSweep> {
            eventcore::require!(*events < 3 || !streams.notes.is_empty(), NothingToSweep);
            for (_, note) in &streams.notes {
                note.append(NoteEvent::Counted);
            }
            if let Some(log) = streams.log {
                log.append(NoteEvent::Counted);
            }
            Ok(())
        }
    }

    for store in stores().await {
        let sweep = |notes: &[u64], log: Option<u64>| Sweep {
            notes: notes.iter().map(id).collect(),
            log: log.map(id),
        };
        let nothing = execute(&store, sweep(&[], None), RetryPolicy::new())
            .await
            .unwrap();
        assert_eq!(
            (nothing.events_written(), nothing.position()),
            (0, Position::START)
        );
        for log in 1..4 {
            let done = execute(&store, sweep(&[], Some(9)), RetryPolicy::new())
                .await
                .unwrap();
            assert_eq!(
                (done.events_written(), done.position()),
                (1, Position::new(log))
            );
        }
        let error = execute(&store, sweep(&[], Some(9)), RetryPolicy::new())
            .await
            .unwrap_err();
        assert!(
            matches!(error, CommandError::BusinessRuleViolation(NothingToSweep)),
            "{error}"
        );
        let done = execute(&store, sweep(&[1, 2], None), RetryPolicy::new())
            .await
            .unwrap();
        assert_eq!(done.events_written(), 2);
        assert_eq!(count(&store).await, 5);
    }
}
