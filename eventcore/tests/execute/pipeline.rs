//! The pipeline without a runtime, a store or a clock: its effects are answered by hand, and by chance.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use eventcore::{
    CommandError, CommandLogic, CommandStreams, CommitId, DecodeError, EncodeError, Event, EventId,
    EventStoreError, ExecuteOptions, MetricsHook, PayloadWriter, Position, RetryBound,
    RetryContext, RetryPolicy, RetryReason, StreamId, StreamKey, StreamResolver, StreamState,
    Version, VersionConflict,
    command::{
        ReadOnly,
        codegen::{Declarations, FieldEvent, FieldHandle, FieldRecord, Handles},
    },
    execute::{AppendStep, ExecutePipeline, ReadStep, Step},
    require,
    store::{
        AppendRequest, CommitReceipt, MAX_PAGE_EVENTS, ReadStreamsRequest, StateCache,
        StreamCursor, StreamEvent, StreamExtent, StreamHead, StreamPage,
    },
};
use proptest::prelude::*;

/// A number that was added, as hand-written event.
#[derive(Debug, Clone, PartialEq)]
struct Added(u64);

impl Event for Added {
    const TYPE_NAMES: &'static [&'static str] = &["Added"];

    fn type_name(&self) -> &'static str {
        "Added"
    }

    fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
        payload.serialize(&self.0)
    }

    fn decode(type_name: &str, payload: &[u8]) -> Result<Self, DecodeError> {
        match type_name {
            "Added" => serde_json::from_slice(payload).map(Self).map_err(|source| {
                DecodeError::InvalidPayload {
                    type_name: type_name.into(),
                    source,
                }
            }),
            _ => Err(DecodeError::UnknownType {
                type_name: type_name.into(),
                known: Self::TYPE_NAMES,
            }),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Key(u64);

impl StreamKey for Key {
    type Event = Added;
    type State = ();
    const CATEGORY: &'static str = "sum";

    fn key(&self) -> impl std::fmt::Display {
        self.0
    }

    fn parse_key(key: &str) -> Result<Self, String> {
        key.parse().map(Self).map_err(|error| format!("{error}"))
    }
}

/// Adds to `to`, guarded by `limit`; may follow links to further streams named by the events' numbers.
#[derive(Debug, Clone)]
struct Add {
    to: Key,
    limit: Key,
    number: u64,
    follow: bool,
    /// The state that it decided on last.
    decided_on: Arc<Mutex<State>>,
}

struct AddStreams<'a> {
    to: FieldHandle<'a, Key>,
    #[allow(dead_code)]
    limit: FieldHandle<'a, Key, ReadOnly>,
    found: FieldHandle<'a, Vec<Key>>,
}

enum AddEvent<'a> {
    To(FieldEvent<'a, Key>),
    Limit(FieldEvent<'a, Key>),
    Found(FieldEvent<'a, Vec<Key>>),
}

#[derive(Default)]
struct AddDiscovered {
    found: Vec<Key>,
}

impl CommandStreams for Add {
    type Streams<'a> = AddStreams<'a>;
    type Event<'a> = AddEvent<'a>;
    type Discovered = AddDiscovered;
    type KnownStreams<'a> = ();
    const DISCOVERS: bool = true;

    fn declare(&self, streams: &mut Declarations) {
        streams.declare("to", &self.to);
        streams.declare_read_only("limit", &self.limit);
    }

    fn declare_discovered(discovered: &AddDiscovered, streams: &mut Declarations) {
        streams.declare("found", &discovered.found);
    }

    fn known_streams<'a>(
        &'a self,
        discovered: &'a AddDiscovered,
        handles: &mut Handles<'a>,
    ) -> Option<()> {
        let _ = handles.next::<_, ReadOnly>("to", &self.to);
        let _ = handles.next::<_, ReadOnly>("limit", &self.limit);
        let _ = handles.next::<_, ReadOnly>("found", &discovered.found);
        Some(())
    }

    fn discover(&self, state: &State, (): ()) -> AddDiscovered {
        self.discover_related_streams(state, ())
    }

    fn streams<'a>(
        &'a self,
        discovered: &'a AddDiscovered,
        handles: &mut Handles<'a>,
    ) -> AddStreams<'a> {
        AddStreams {
            to: handles.next("to", &self.to),
            limit: handles.next("limit", &self.limit),
            found: handles.next("found", &discovered.found),
        }
    }

    fn event<'a>(
        &'a self,
        discovered: &'a AddDiscovered,
        event: FieldRecord<'a>,
    ) -> Result<AddEvent<'a>, DecodeError> {
        match event.field() {
            0 => event.decode(&self.to).map(AddEvent::To),
            1 => event.decode(&self.limit).map(AddEvent::Limit),
            2 => event.decode(&discovered.found).map(AddEvent::Found),
            _ => Err(event.undeclared()),
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq)]
struct State {
    /// Every number in the order of the fold, with the field that it came from.
    folded: Vec<(u8, u64)>,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} is too much")]
struct TooMuch(u64);

impl CommandLogic for Add {
    type State = State;
    type Error = TooMuch;

    fn apply(&self, state: &mut State, event: AddEvent<'_>) {
        state.folded.push(match event {
            AddEvent::To(Added(number)) => (0, number),
            AddEvent::Limit(Added(number)) => (1, number),
            AddEvent::Found((_, Added(number))) => (2, number),
        });
    }

    fn handle(&self, state: &State, streams: AddStreams<'_>) -> Result<(), TooMuch> {
        self.decided_on.lock().unwrap().clone_from(state);
        let sum: u64 = state.folded.iter().map(|(_, number)| number).sum();
        require!(sum + self.number <= 1000, TooMuch(sum + self.number));
        streams.to.append(Added(self.number));
        for (_, found) in &streams.found {
            found.append(Added(1));
        }
        Ok(())
    }
}

impl StreamResolver for Add {
    fn discover_related_streams(&self, state: &State, (): ()) -> AddDiscovered {
        let mut found: Vec<_> = state
            .folded
            .iter()
            .map(|(_, n)| n % 7 + 100)
            .filter(|_| self.follow)
            .collect();
        found.sort_unstable();
        found.dedup();
        AddDiscovered {
            found: found.into_iter().map(Key).collect(),
        }
    }
}

/// The same without discovery: after a conflict it reads on, instead of starting over.
struct Plain(Add);

impl CommandStreams for Plain {
    type Streams<'a> = AddStreams<'a>;
    type Event<'a> = AddEvent<'a>;
    type Discovered = AddDiscovered;
    type KnownStreams<'a> = ();

    fn declare(&self, streams: &mut Declarations) {
        self.0.declare(streams);
    }

    fn streams<'a>(
        &'a self,
        discovered: &'a AddDiscovered,
        handles: &mut Handles<'a>,
    ) -> AddStreams<'a> {
        self.0.streams(discovered, handles)
    }

    fn event<'a>(
        &'a self,
        discovered: &'a AddDiscovered,
        event: FieldRecord<'a>,
    ) -> Result<AddEvent<'a>, DecodeError> {
        self.0.event(discovered, event)
    }
}

impl CommandLogic for Plain {
    type State = State;
    type Error = TooMuch;

    fn apply(&self, state: &mut State, event: AddEvent<'_>) {
        self.0.apply(state, event);
    }

    fn handle(&self, state: &State, streams: AddStreams<'_>) -> Result<(), TooMuch> {
        self.0.handle(state, streams)
    }
}

fn add(number: u64) -> Add {
    Add {
        to: Key(1),
        limit: Key(2),
        number,
        follow: false,
        decided_on: Arc::default(),
    }
}

fn start<C: CommandLogic>(command: C, policy: RetryPolicy) -> Step<C> {
    let id = CommitId::from_uuid(uuid::Uuid::from_u128(7 << 64 | 1 << 40));
    ExecutePipeline::new(command, ExecuteOptions::from(policy), id).start()
}

fn empty(request: &ReadStreamsRequest) -> StreamPage {
    StreamPage {
        streams: vec![StreamExtent::default(); request.streams.len()],
        events: vec![],
        snapshot: Position::START,
        already_committed: None,
    }
}

/// The id of the event with this version, in whatever stream.
fn event_id(version: u64) -> EventId {
    CommitId::from_uuid(uuid::Uuid::from_u128(u128::from(version) << 20)).event(0)
}

fn head(version: u64) -> StreamHead {
    StreamHead::new(Version::new(version), event_id(version))
}

fn extent(head: StreamHead, after: Option<EventId>) -> StreamExtent {
    StreamExtent {
        head,
        after,
        snapshot: None,
    }
}

fn conflict() -> EventStoreError {
    VersionConflict {
        stream: StreamId::new("sum-1").unwrap(),
        expected: Version::EMPTY,
        actual: Version::new(1),
    }
    .into()
}

fn appended(request: &AppendRequest) -> CommitReceipt {
    CommitReceipt {
        position: Position::new(9),
        events: request.events().len(),
        repeated: false,
    }
}

/// The step must be of this kind; anything else fails the test with what it was instead.
macro_rules! expect_step {
    ($step:expr, Done) => {
        match $step {
            Step::Done { result, .. } => result,
            other => panic!("the pipeline wants to {}", wants(&other)),
        }
    };
    ($step:expr, $kind:ident) => {
        match $step {
            Step::$kind(inner, ..) => inner,
            other => panic!("the pipeline wants to {}", wants(&other)),
        }
    };
}

fn wants<C: CommandLogic<Error: std::fmt::Debug>>(step: &Step<C>) -> String {
    match step {
        Step::ReadStreams(_) => "read".into(),
        Step::Append(_) => "append".into(),
        Step::Sleep(_) => "sleep".into(),
        Step::Done { result, .. } => format!("end with {result:?}"),
    }
}

#[test]
fn reads_then_appends_then_succeeds() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let ids: Vec<_> = read
        .request()
        .streams
        .iter()
        .map(|cursor| cursor.stream.to_string())
        .collect();
    assert_eq!(
        ids,
        ["sum-1", "sum-2"],
        "all declared streams in field order, in one request"
    );
    let page = empty(read.request());
    let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    assert_eq!(
        append.request().expected().len(),
        2,
        "the read-only stream is checked too"
    );
    assert_eq!(append.request().events()[0].payload, "5");
    let result = appended(append.request());
    let done = expect_step!(append.resume(Ok(result), Duration::ZERO), Done).unwrap();
    assert_eq!(
        (
            done.attempts(),
            done.position().get(),
            done.events_written()
        ),
        (1, 9, 1)
    );
    assert_eq!(
        done.versions().unwrap(),
        [(StreamId::new("sum-1").unwrap(), Version::new(1))]
    );
}

#[test]
fn a_conflict_sleeps_reads_again_and_succeeds() {
    let append = first_append(RetryPolicy::new());
    let sleep = expect_step!(append.resume(Err(conflict()), Duration::ZERO), Sleep);
    assert_eq!(sleep.context().failed_attempts, 1);
    assert!(matches!(sleep.context().reason, RetryReason::Conflict(_)));
    assert!(
        sleep.duration() <= Duration::from_millis(1),
        "the first wait is at most the base delay"
    );
    let read = expect_step!(sleep.resume(), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(1);
    page.snapshot = Position::new(1);
    page.events = vec![event(0, 1, 1, 40)];
    let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    assert_eq!(
        append.request().expected()[0].version,
        Version::new(1),
        "the version of the second read"
    );
    let result = appended(append.request());
    assert_eq!(
        expect_step!(append.resume(Ok(result), Duration::ZERO), Done)
            .unwrap()
            .attempts(),
        2
    );
}

#[test]
fn a_business_rule_violation_appends_nothing() {
    let read = expect_step!(start(add(1001), RetryPolicy::new()), ReadStreams);
    let page = empty(read.request());
    let error = expect_step!(read.resume(Ok(page), Duration::ZERO), Done).unwrap_err();
    assert!(
        matches!(error, CommandError::BusinessRuleViolation(TooMuch(1001))),
        "{error}"
    );
}

#[test]
fn retries_are_exhausted() {
    let mut step = start(add(5), RetryPolicy::new().max_attempts(3));
    for attempt in 1..=3 {
        let read = expect_step!(step, ReadStreams);
        let page = empty(read.request());
        let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
        step = append.resume(Err(conflict()), Duration::ZERO);
        if attempt < 3 {
            step = expect_step!(step, Sleep).resume();
        }
    }
    match expect_step!(step, Done).unwrap_err() {
        CommandError::ConcurrencyError {
            attempts,
            ended_by: RetryBound::Attempts,
            conflict,
        } => {
            assert_eq!((attempts, conflict.stream.as_str()), (3, "sum-1"));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_deadline_ends_the_retries() {
    let append = first_append(RetryPolicy::new().deadline(Duration::from_secs(2)));
    let error =
        expect_step!(append.resume(Err(conflict()), Duration::from_secs(2)), Done).unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::ConcurrencyError {
                attempts: 1,
                ended_by: RetryBound::Deadline,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_open_outcome_repeats_the_same_commit_and_ends_as_unknown_only_past_the_deadline() {
    let unknown = || EventStoreError::OutcomeUnknown {
        source: "cut".into(),
    };
    let append = first_append(RetryPolicy::never());
    let (id, payload) = (
        append.request().commit_id(),
        append.request().events().to_vec(),
    );
    let sleep = expect_step!(append.resume(Err(unknown()), Duration::ZERO), Sleep);
    let again = expect_step!(sleep.resume(), Append);
    assert_eq!(
        (again.request().commit_id(), again.request().events()),
        (id, payload.as_slice())
    );
    // A known failure of the repetition says nothing about the first try.
    let busy = EventStoreError::Busy {
        source: "busy".into(),
    };
    let sleep = expect_step!(again.resume(Err(busy), Duration::from_secs(1)), Sleep);
    let again = expect_step!(sleep.resume(), Append);
    let error =
        expect_step!(again.resume(Err(unknown()), Duration::from_secs(30)), Done).unwrap_err();
    assert!(
        matches!(error, CommandError::OutcomeUnknown { .. }),
        "{error}"
    );
}

#[test]
fn a_store_that_leaves_out_an_event_is_found_out() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(2);
    page.snapshot = Position::new(2);
    page.events = vec![event(0, 2, 2, 1)];
    let error = expect_step!(read.resume(Ok(page), Duration::ZERO), Done).unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::EventStoreError(EventStoreError::Corrupt { .. })
        ),
        "{error}"
    );
}

/// The first page has what most streams have. The store bounds further ones by their bytes, whatever the size of the events
/// before.
#[test]
fn further_pages_are_as_long_as_the_store_makes_them() {
    let mut read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    assert_eq!(read.request().limit, 128);
    for (number, bytes) in (0..).zip([1, 10 * 1024, 8 * 1024 * 1024, 1]) {
        let events = [2 * number + 1, 2 * number + 2].map(|version| StreamEvent {
            payload: format!("1{}", " ".repeat(bytes - 1)).into(),
            ..event(0, version, version, 1)
        });
        let page = StreamPage {
            streams: vec![extent(head(1000), None), StreamExtent::default()],
            events: events.into(),
            snapshot: Position::new(1000),
            already_committed: None,
        };
        read = expect_step!(read.resume(Ok(page), Duration::ZERO), ReadStreams);
        let limit = read.request().limit;
        assert_eq!(limit, MAX_PAGE_EVENTS, "after events of {bytes} bytes");
    }
}

/// A leader that was replaced while it hung answers a page, with what it knew. Nothing is damaged: all is read again.
#[test]
fn a_page_from_a_server_that_lags_behind_is_not_folded() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(5);
    page.snapshot = Position::new(5);
    page.events = vec![event(0, 1, 1, 1), event(0, 2, 2, 1)];
    let read = expect_step!(read.resume(Ok(page), Duration::ZERO), ReadStreams);
    assert_eq!(read.request().snapshot, Some(Position::new(5)));
    let mut page = empty(read.request());
    page.streams[0].head = head(3);
    page.snapshot = Position::new(3);
    page.events = vec![event(0, 3, 3, 1)];
    let sleep = expect_step!(read.resume(Ok(page), Duration::ZERO), Sleep);

    // From the first event on, in a new snapshot.
    let read = expect_step!(sleep.resume(), ReadStreams);
    assert_eq!(read.request().snapshot, None);
    assert_eq!(read.request().streams[0].after, Version::EMPTY);
    let mut page = empty(read.request());
    page.streams[0].head = head(2);
    page.snapshot = Position::new(2);
    page.events = vec![event(0, 1, 1, 1)];
    let read = expect_step!(read.resume(Ok(page), Duration::ZERO), ReadStreams);
    let lagging = empty(read.request());
    let step = read.resume(Ok(lagging), Duration::from_hours(1));
    assert_lags(expect_step!(step, Done).unwrap_err());
}

/// A command without discovery, which reads on after a conflict.
#[derive(Debug, eventcore::Command)]
struct Count {
    #[stream]
    to: Key,
}

impl CommandLogic for Count {
    type State = u64;
    type Error = Infallible;

    fn apply(&self, count: &mut u64, _: CountEvent<'_>) {
        *count += 1;
    }

    fn handle(&self, count: &u64, streams: CountStreams<'_>) -> Result<(), Infallible> {
        streams.to.append(Added(*count));
        Ok(())
    }
}

/// The same for what is read after a conflict, from where the attempt before had come.
#[test]
fn what_is_read_after_a_conflict_may_come_from_a_server_that_lags_behind() {
    let id = CommitId::from_uuid(uuid::Uuid::from_u128(7 << 64 | 1 << 40));
    let options = ExecuteOptions::from(RetryPolicy::new());
    let step = ExecutePipeline::new(Count { to: Key(1) }, options, id).start();
    let Step::ReadStreams(read) = step else {
        panic!("it reads first")
    };
    let mut page = empty(read.request());
    page.streams[0].head = head(1);
    page.snapshot = Position::new(1);
    page.events = vec![event(0, 1, 1, 1)];
    let Step::Append(append) = read.resume(Ok(page), Duration::ZERO) else {
        panic!("it has read all")
    };
    let Step::Sleep(sleep) = append.resume(Err(conflict()), Duration::ZERO) else {
        panic!("it tries again")
    };
    let Step::ReadStreams(read) = sleep.resume() else {
        panic!("it reads on")
    };
    assert_eq!(read.request().streams[0].after, Version::new(1));
    let lagging = empty(read.request());
    let Step::Sleep(sleep) = read.resume(Ok(lagging), Duration::ZERO) else {
        panic!("it does not believe the page")
    };
    let Step::ReadStreams(read) = sleep.resume() else {
        panic!("it reads anew")
    };
    assert_eq!(read.request().streams[0].after, Version::EMPTY);
}

/// A version alone names no history: what every commit expects is the events that it was decided on.
#[test]
fn a_commit_names_the_last_event_of_every_stream_that_was_read() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[1].head = head(2);
    page.snapshot = Position::new(2);
    page.events = vec![event(1, 1, 1, 1), event(1, 2, 2, 1)];
    let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    let expected = append.request().expected();
    assert_eq!(
        (expected[0].version, expected[0].event_id),
        (Version::EMPTY, None)
    );
    // It is only read.
    assert_eq!(
        (expected[1].version, expected[1].event_id),
        (Version::new(2), Some(event_id(2)))
    );
}

/// Otherwise an event would not name the decision that it is of.
#[test]
fn a_commit_has_its_id_for_as_long_as_its_outcome_is_open_and_another_one_after_a_conflict() {
    let again = append_again_after("cut in the middle");
    let first = first_append(RetryPolicy::new()).request().commit_id();
    assert_eq!(again.request().commit_id(), first);
    let sleep = expect_step!(again.resume(Err(conflict()), Duration::ZERO), Sleep);
    let read = expect_step!(sleep.resume(), ReadStreams);
    let page = empty(read.request());
    let decided_again = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    assert_ne!(decided_again.request().commit_id(), first);
}

/// The decision after a conflict, having read on in a stream at version 1 that is now said to be like this.
fn read_on(extent: StreamExtent, events: Vec<StreamEvent>) -> Step<Count> {
    let id = CommitId::from_uuid(uuid::Uuid::from_u128(7 << 64 | 1 << 40));
    let options = ExecuteOptions::from(RetryPolicy::new());
    let step = ExecutePipeline::new(Count { to: Key(1) }, options, id).start();
    let read = expect_step!(step, ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(1);
    page.snapshot = Position::new(1);
    page.events = vec![event(0, 1, 1, 1)];
    let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    let sleep = expect_step!(append.resume(Err(conflict()), Duration::ZERO), Sleep);
    let read = expect_step!(sleep.resume(), ReadStreams);
    assert_eq!(read.request().streams[0].after, Version::new(1));
    let page = StreamPage {
        streams: vec![extent],
        events,
        snapshot: Position::new(2),
        already_committed: None,
    };
    read.resume(Ok(page), Duration::ZERO)
}

#[test]
fn a_history_that_was_replaced_since_a_conflict_is_read_from_the_start() {
    let same = read_on(extent(head(2), Some(event_id(1))), vec![event(0, 2, 2, 1)]);
    let append = expect_step!(same, Append);
    assert_eq!(append.request().events()[0].payload, "2");
    let other = read_on(extent(head(2), Some(event_id(7))), vec![event(0, 2, 2, 1)]);
    let read = expect_step!(other, ReadStreams);
    assert_eq!(read.request().streams[0].after, Version::EMPTY);
}

#[test]
fn a_history_that_is_replaced_between_two_pages_is_not_folded() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(2);
    page.snapshot = Position::new(2);
    page.events = vec![event(0, 1, 1, 1)];
    let read = expect_step!(read.resume(Ok(page), Duration::ZERO), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = StreamHead::new(Version::new(2), event_id(7));
    page.snapshot = Position::new(2);
    page.events = vec![event(0, 2, 2, 1)];
    let sleep = expect_step!(read.resume(Ok(page), Duration::ZERO), Sleep);
    let read = expect_step!(sleep.resume(), ReadStreams);
    assert_eq!(
        (read.request().snapshot, read.request().streams[0].after),
        (None, Version::EMPTY)
    );
}

/// The number of events of a stream.
#[derive(Debug, Default)]
struct Counted(u64);

impl StreamState<Added> for Counted {
    fn apply(&mut self, _: Added) {
        self.0 += 1;
    }
}

#[derive(Debug, eventcore::StreamKey)]
#[stream_key(category = "sum", event = Added, state = Counted)]
struct CountedKey(u64);

/// A command that decides on the state of its stream.
#[derive(Debug, eventcore::Command)]
struct Tally {
    #[stream]
    to: CountedKey,
}

impl CommandLogic for Tally {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: TallyStreams<'_>) -> Result<(), Infallible> {
        streams.to.append(Added(streams.to.0));
        Ok(())
    }
}

/// The cached state is used at the first page of a read only, and after a conflict it is as new as it can be.
#[test]
fn a_cached_state_is_used_where_a_read_begins() {
    let cache = StateCache::new();
    let begin = || {
        let id = CommitId::from_uuid(uuid::Uuid::from_u128(7 << 64 | 1 << 40));
        let options = ExecuteOptions::from(RetryPolicy::new());
        let step = ExecutePipeline::new(Tally { to: CountedKey(1) }, options, id).start();
        expect_step!(step, ReadStreams).share(&cache)
    };
    let after = |read: &ReadStep<Tally>| read.request().streams[0].after.get();
    let (read, other) = (begin(), begin());
    assert_eq!((after(&read), after(&other)), (0, 0), "nothing is known");
    let log = vec![(1, 1), (1, 2)];
    let page = page_of(&log, read.request(), 1);
    let read = expect_step!(read.resume(Ok(page), Duration::ZERO), ReadStreams).share(&cache);
    assert_eq!(after(&read), 1, "between two pages");
    let page = page_of(&log, read.request(), 1);
    let append = expect_step!(read.resume(Ok(page), Duration::ZERO), Append);
    let later = begin();
    assert_eq!(after(&later), 2, "what the first one has read");
    // The other one has the same events, and decides on the same state.
    let page = page_of(&log, other.request(), 2);
    let other = expect_step!(other.resume(Ok(page), Duration::ZERO), Append);
    assert_eq!(other.request().events()[0].payload, "2");
    // Somebody else brings the state further.
    let log = vec![(1, 1), (1, 2), (1, 3)];
    let page = page_of(&log, later.request(), 1);
    let later = expect_step!(later.resume(Ok(page), Duration::ZERO), Append);
    assert_eq!(later.request().events()[0].payload, "3");
    let sleep = expect_step!(append.resume(Err(conflict()), Duration::ZERO), Sleep);
    let read = expect_step!(sleep.resume(), ReadStreams).share(&cache);
    assert_eq!(after(&read), 3, "after a conflict");
}

/// A page that is older than what another command has folded meanwhile is no basis for a decision.
#[test]
fn a_state_that_has_moved_on_is_read_again() {
    let cache = StateCache::new();
    let begin = |number: u128| {
        let id = CommitId::from_uuid(uuid::Uuid::from_u128(number << 64));
        let options = ExecuteOptions::from(RetryPolicy::new());
        let step = ExecutePipeline::new(Tally { to: CountedKey(1) }, options, id).start();
        expect_step!(step, ReadStreams).share(&cache)
    };
    let log = [(1, 1), (1, 2), (1, 3)];
    let resume = |read: ReadStep<Tally>, events: usize| {
        let page = page_of(&log[..events].to_vec(), read.request(), 10);
        read.resume(Ok(page), Duration::ZERO)
    };
    expect_step!(resume(begin(1), 1), Append);
    let (slow, fast) = (begin(2), begin(3));
    expect_step!(resume(fast, 3), Append);
    let again = expect_step!(resume(slow, 2), ReadStreams).share(&cache);
    assert_eq!(again.request().streams[0].after, Version::new(3));
    let append = expect_step!(resume(again, 3), Append);
    assert_eq!(append.request().events()[0].payload, "3");
    assert_eq!(append.request().expected()[0].version, Version::new(3));
}

/// A command that follows the latest of the numbers that it has read, wherever that leads. It appends the versions of its
/// streams, as two digits.
#[derive(Debug, eventcore::Command)]
#[command(discovers(to: Option<Key>))]
struct Redirect {
    #[stream]
    from: Key,
}

impl CommandLogic for Redirect {
    type State = Option<u64>;
    type Error = Infallible;

    fn apply(&self, latest: &mut Option<u64>, event: RedirectEvent<'_>) {
        let (RedirectEvent::From(Added(number)) | RedirectEvent::To(Added(number))) = event;
        *latest = Some(number);
    }

    fn handle(&self, _: &Option<u64>, streams: RedirectStreams<'_>) -> Result<(), Infallible> {
        let from = streams.from.version().get();
        if let Some(to) = streams.to {
            to.append(Added(to.version().get() * 10 + from));
        }
        Ok(())
    }
}

impl StreamResolver for Redirect {
    fn discover_related_streams(
        &self,
        latest: &Option<u64>,
        _: RedirectKnownStreams<'_>,
    ) -> RedirectDiscovered {
        RedirectDiscovered {
            to: latest.map(Key),
        }
    }
}

/// As many streams in the same field are not the same streams.
#[test]
fn a_discovered_stream_gives_way_to_another_one() {
    // The first number leads to a stream that leads on to another one, which leads to itself.
    let log = vec![(1, 101), (101, 102), (102, 102), (102, 102)];
    let id = CommitId::from_uuid(uuid::Uuid::from_u128(7 << 64 | 1 << 40));
    let options = ExecuteOptions::from(RetryPolicy::new());
    let mut step = ExecutePipeline::new(Redirect { from: Key(1) }, options, id).start();
    let mut asked = Vec::new();
    let append = loop {
        step = match step {
            Step::ReadStreams(read) => {
                let streams = read.request().streams.iter();
                asked.extend(streams.map(|cursor| cursor.stream.to_string()));
                let page = page_of(&log, read.request(), 10);
                read.resume(Ok(page), Duration::ZERO)
            }
            Step::Append(append) => break append,
            _ => panic!("it reads until it has all its streams, and then it appends"),
        };
    };
    assert_eq!(asked, ["sum-1", "sum-101", "sum-102"]);
    let request = append.request();
    let [event] = request.events() else {
        panic!("one event: {request:?}")
    };
    let to = &request.expected()[event.stream];
    assert_eq!(
        to.stream.as_str(),
        "sum-102",
        "it goes to the stream that was found last"
    );
    assert_eq!(
        event.payload, "21",
        "the versions of both streams, as they were read"
    );
}

/// Remembers what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<RetryContext>>);

impl MetricsHook for Told {
    fn on_retry_attempt(&self, context: &RetryContext) {
        self.0.lock().unwrap().push(context.clone());
    }
}

#[test]
fn a_wait_lasts_as_long_as_it_says_and_the_hook_is_told_of_it() {
    let told = Arc::new(Told::default());
    let hour = Duration::from_hours(1);
    let policy = RetryPolicy::new().base_delay(hour).max_delay(hour);
    let append = first_append(policy.metrics_hook(told.clone()));
    let sleep = expect_step!(append.resume(Err(conflict()), Duration::ZERO), Sleep);
    assert_eq!(sleep.duration(), sleep.context().delay);
    assert!(sleep.duration() > Duration::ZERO, "it waits for nothing");
    assert!(told.0.lock().unwrap().is_empty(), "nobody has reported yet");
    sleep.report();
    assert_eq!(*told.0.lock().unwrap(), [sleep.context().clone()]);
}

fn assert_lags(error: CommandError<TooMuch>) {
    let CommandError::EventStoreError(EventStoreError::Unavailable { source }) = error else {
        panic!("{error}")
    };
    assert!(
        source
            .to_string()
            .contains("lags behind the one that answered before"),
        "{source}"
    );
}

/// Returns the messages of an error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Without an end to it, the pipeline would ask for the rest of a stream that has none.
#[test]
fn a_store_that_goes_back_is_found_out() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(1);
    page.snapshot = Position::new(2);
    page.events = vec![event(0, 1, 1, 1), event(0, 2, 2, 1)];
    let error = expect_step!(read.resume(Ok(page), Duration::ZERO), Done).unwrap_err();
    let said = chain(&error);
    assert!(
        said.contains("event 2 of stream `sum-1` was read, which is now at version 1"),
        "{said}"
    );
}

/// The same for the end of a stream that does not come.
#[test]
fn a_store_that_holds_back_the_end_of_a_stream_is_found_out() {
    let read = expect_step!(start(add(5), RetryPolicy::new()), ReadStreams);
    let mut page = empty(read.request());
    page.streams[0].head = head(2);
    let error = expect_step!(read.resume(Ok(page), Duration::ZERO), Done).unwrap_err();
    let said = chain(&error);
    let ends = "stream `sum-1` is at version 2 and ends after event 0";
    assert!(said.contains(ends), "{said}");
}

fn event(stream: usize, version: u64, position: u64, number: u64) -> StreamEvent {
    StreamEvent {
        stream,
        version: Version::new(version),
        position: Position::new(position),
        type_name: "Added".into(),
        payload: Bytes::from(number.to_string()),
    }
}

/// The append of 5, after a read of empty streams.
fn first_append(policy: RetryPolicy) -> AppendStep<Add> {
    let read = expect_step!(start(add(5), policy), ReadStreams);
    let page = empty(read.request());
    expect_step!(read.resume(Ok(page), Duration::ZERO), Append)
}

/// The second try of a commit whose first one ended without an answer.
fn append_again_after(said: &str) -> AppendStep<Add> {
    let append = first_append(RetryPolicy::new());
    let unknown = EventStoreError::OutcomeUnknown {
        source: said.into(),
    };
    let sleep = expect_step!(append.resume(Err(unknown), Duration::ZERO), Sleep);
    expect_step!(sleep.resume(), Append)
}

/// To ask a store again that takes no more commits would settle nothing.
#[test]
fn an_open_outcome_of_a_store_that_takes_no_more_commits_ends_at_once_and_says_why() {
    let again = append_again_after("fsync");
    let failed = EventStoreError::StorageFailed {
        source: "fsync".into(),
    };
    let error = expect_step!(again.resume(Err(failed), Duration::ZERO), Done).unwrap_err();
    assert!(
        matches!(
            error,
            CommandError::OutcomeUnknown {
                source: EventStoreError::StorageFailed { .. }
            }
        ),
        "{error}"
    );
}

/// The store's last error is reported rather than its silence.
#[test]
fn an_open_outcome_that_times_out_keeps_what_the_store_said() {
    let again = append_again_after("cut in the middle");
    let error = expect_step!(again.time_out(), Done).unwrap_err();
    let said = chain(&error);
    assert!(said.contains("cut in the middle"), "{said}");
}

/// The log that an arbitrary schedule reads from: (stream number, number added), in commit order.
type Log = Vec<(u64, u64)>;

fn page_of(log: &Log, request: &ReadStreamsRequest, page_size: usize) -> StreamPage {
    let end = request.snapshot.map_or(log.len() as u64, Position::get);
    let mut versions = vec![0; request.streams.len()];
    let mut events = Vec::new();
    for (place, (stream, number)) in (1..).zip(log) {
        let found = request
            .streams
            .iter()
            .position(|cursor| cursor.stream.key() == stream.to_string());
        let Some(found) = found.filter(|_| place <= end) else {
            continue;
        };
        versions[found] += 1;
        if versions[found] > request.streams[found].after.get() && events.len() < page_size {
            events.push(event(found, versions[found], place, *number));
        }
    }
    let extent = |(version, cursor): (u64, &StreamCursor)| {
        let after = Some(cursor.after.get()).filter(|after| (1..=version).contains(after));
        extent(head(version), after.map(event_id))
    };
    let streams = versions.into_iter().zip(&request.streams).map(extent);
    StreamPage {
        streams: streams.collect(),
        events,
        snapshot: Position::new(end),
        already_committed: None,
    }
}

/// The events of the streams 1, 2 and the discovered ones, in commit order, and the discovered streams.
fn fixpoint(log: &Log, follow: bool) -> (State, Vec<u64>) {
    let command = Add { follow, ..add(0) };
    let mut found: Vec<u64> = vec![];
    loop {
        let field = |stream: &u64| match stream {
            1 => Some(0),
            2 => Some(1),
            other => found.contains(other).then_some(2),
        };
        let folded = log
            .iter()
            .filter_map(|(stream, number)| Some((field(stream)?, *number)))
            .collect();
        let state = State { folded };
        let next: Vec<u64> = command
            .discover_related_streams(&state, ())
            .found
            .iter()
            .map(|key| key.0)
            .collect();
        if next == found {
            return (state, found);
        }
        found = next;
    }
}

#[derive(Debug, Clone)]
enum Answer {
    Ok,
    Conflict,
    Busy,
    Unknown,
    Full,
    Failed,
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Ok),
        3 => Just(Answer::Conflict),
        1 => Just(Answer::Busy),
        1 => Just(Answer::Unknown),
        1 => Just(Answer::Full),
        1 => Just(Answer::Failed),
    ]
}

impl Answer {
    fn error(&self) -> Option<EventStoreError> {
        Some(match self {
            Self::Ok => return None,
            Self::Conflict => conflict(),
            Self::Busy => EventStoreError::Busy {
                source: "busy".into(),
            },
            Self::Unknown => EventStoreError::OutcomeUnknown {
                source: "unknown".into(),
            },
            Self::Full => EventStoreError::StorageFull {
                source: "full".into(),
            },
            Self::Failed => EventStoreError::StorageFailed {
                source: "failed".into(),
            },
        })
    }
}

/// The answers, and the appends of others in between.
#[derive(Debug, Clone)]
struct Schedule {
    log: Log,
    /// Appended by others one at a time, before each conflict.
    others: Log,
    reads: Vec<Answer>,
    appends: Vec<Answer>,
    page_size: usize,
    max_attempts: u32,
    follow: bool,
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let event = || (prop_oneof![1..=2_u64, 100..=106_u64], 0..9_u64);
    (
        prop::collection::vec(event(), 0..40),
        prop::collection::vec(event(), 0..6),
        prop::collection::vec(answer(), 1..12),
        prop::collection::vec(answer(), 1..12),
        (1..8_usize, 1..6_u32, any::<bool>()),
    )
        .prop_map(
            |(log, others, reads, appends, (page_size, max_attempts, follow))| Schedule {
                log,
                others,
                reads,
                appends,
                page_size,
                max_attempts,
                follow,
            },
        )
}

/// Checks that the append is the expected decision of the command.
fn check_append(
    log: &Log,
    follow: bool,
    request: &AppendRequest,
    decided_on: &State,
) -> Result<(), TestCaseError> {
    // It decides on all events of its streams, in commit order, the discovered ones and the new ones among them.
    let (state, found) = fixpoint(log, follow);
    prop_assert_eq!(decided_on, &state);
    // Nothing but the declared and the discovered streams, each with the version that was read.
    let mut streams: Vec<_> = request
        .expected()
        .iter()
        .map(|e| e.stream.to_string())
        .collect();
    for expected in request.expected() {
        let held = log
            .iter()
            .filter(|(s, _)| expected.stream.key() == s.to_string())
            .count();
        prop_assert_eq!(expected.version.get(), held as u64);
    }
    for name in [1, 2].iter().chain(&found).map(|key| format!("sum-{key}")) {
        prop_assert!(streams.contains(&name), "{} is not guarded", name);
    }
    streams.sort();
    streams.dedup();
    prop_assert_eq!(streams.len(), request.expected().len(), "a stream twice");
    // What it writes is what `handle` decides.
    let written: Vec<_> = request
        .events()
        .iter()
        .map(|e| {
            (
                request.expected()[e.stream].stream.to_string(),
                e.payload.clone(),
            )
        })
        .collect();
    let mut wanted = vec![("sum-1".to_owned(), Bytes::from("1"))];
    wanted.extend(
        found
            .iter()
            .map(|key| (format!("sum-{key}"), Bytes::from("1"))),
    );
    prop_assert_eq!(written, wanted);
    Ok(())
}

fn run_to_the_end<C: CommandLogic<Error = TooMuch>>(
    command: C,
    decided_on: &Mutex<State>,
    schedule: Schedule,
) -> Result<(), TestCaseError> {
    let Schedule {
        mut log,
        others,
        reads,
        appends,
        page_size,
        max_attempts,
        follow,
    } = schedule;
    let follow = follow && C::DISCOVERS;
    let policy = RetryPolicy::new()
        .max_attempts(max_attempts)
        .deadline(Duration::from_millis(40));
    let mut step = start(command, policy);
    let (mut reads, mut appends) = (reads.iter().cycle(), appends.iter().cycle());
    let mut others = others.into_iter();
    let (mut unknown, mut sleeps, mut retries, mut steps) = (false, 0, 0, 0);
    let result = loop {
        steps += 1;
        prop_assert!(steps < 100_000, "the pipeline does not end");
        step = match step {
            Step::ReadStreams(read) => {
                prop_assert!(!unknown, "reads again while the outcome is open");
                let answer = match reads.next().and_then(Answer::error) {
                    Some(error) => Err(error),
                    None => Ok(page_of(&log, read.request(), page_size)),
                };
                read.resume(answer, Duration::ZERO)
            }
            Step::Append(append) => {
                let request = append.request().clone();
                check_append(&log, follow, &request, &decided_on.lock().unwrap())?;
                let answer = appends.next().and_then(Answer::error);
                unknown |= matches!(answer, Some(EventStoreError::OutcomeUnknown { .. }));
                if matches!(answer, Some(EventStoreError::VersionConflict(_))) {
                    unknown = false;
                    log.extend(others.next());
                }
                append.resume(
                    answer.map_or_else(|| Ok(appended(&request)), Err),
                    Duration::ZERO,
                )
            }
            Step::Sleep(sleep) => {
                prop_assert!(sleep.duration() <= Duration::from_millis(50));
                sleeps += 1;
                prop_assert_eq!(sleep.context().failed_attempts, sleeps);
                if !matches!(sleep.context().reason, RetryReason::OutcomeUnknown) {
                    retries += 1;
                }
                sleep.resume()
            }
            Step::Done { result, .. } => break result,
        };
    };
    prop_assert!(retries < max_attempts, "more attempts than allowed");
    match result {
        Ok(done) => {
            prop_assert_eq!(done.events_written(), 1 + fixpoint(&log, follow).1.len());
            prop_assert_eq!(done.attempts(), sleeps + 1);
        }
        Err(CommandError::OutcomeUnknown { .. }) => prop_assert!(unknown, "the outcome was known"),
        Err(CommandError::EventStoreError(_)) => {
            prop_assert!(!unknown, "an open outcome was reported as a failure");
        }
        Err(CommandError::ConcurrencyError { attempts, .. }) => {
            prop_assert!(!unknown, "an open outcome was reported as a failure");
            prop_assert_eq!(attempts, sleeps + 1);
        }
        Err(CommandError::BusinessRuleViolation(TooMuch(sum))) => {
            let (state, _) = fixpoint(&log, follow);
            prop_assert_eq!(state.folded.iter().map(|(_, n)| n).sum::<u64>() + 1, sum);
            prop_assert!(sum > 1000);
        }
        Err(other) => prop_assert!(false, "{}", other),
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_answers_lead_to_an_end_within_the_declared_streams_and_the_allowed_attempts(schedule in schedule()) {
        let command = Add { follow: schedule.follow, ..add(1) };
        let decided_on = command.decided_on.clone();
        run_to_the_end(command.clone(), &decided_on, schedule.clone())?;
        run_to_the_end(Plain(command), &decided_on, schedule)?;
    }
}
