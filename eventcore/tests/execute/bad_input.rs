//! Input that is refused before a store hears of it: stream ids, keys, and commands that name a stream twice.

use std::convert::Infallible;

use eventcore::{
    Command, CommandError, CommandLogic, CommitId, DeclarationError, DecodeError, EncodeError,
    Event, EventStore, ExecuteOptions, MAX_EVENT_BYTES, Metadata, PayloadWriter, Position,
    RetryPolicy, StreamId, StreamIdError, StreamKey, Version, execute,
    store::{
        AppendError, AppendRequest, CommitReceipt, ExpectedVersion, FeedPage, MAX_COMMIT_BYTES,
        MAX_COMMIT_EVENTS, MAX_COMMIT_STREAMS, NewEvent, ReadFeedRequest, ReadStreamsRequest,
        StoreFuture, StreamPage,
    },
};

/// A store that must not be asked anything.
struct Untouchable;

impl EventStore for Untouchable {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        panic!("the store was asked for {request:?}")
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        panic!("the store was given {request:?}")
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        panic!("the store was asked for {request:?}")
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        panic!("the store was asked what comes after {after}")
    }
}

struct Noted;

impl Event for Noted {
    const TYPE_NAMES: &'static [&'static str] = &["Noted"];

    fn type_name(&self) -> &'static str {
        "Noted"
    }

    fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
        payload.json("{}")
    }

    fn decode(_: &str, _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self)
    }
}

/// A hand-written key, whose category the derive would have checked.
macro_rules! key {
    ($name:ident, $category:literal) => {
        struct $name(String);

        impl StreamKey for $name {
            type State = ();
            type Event = Noted;

            const CATEGORY: &'static str = $category;

            fn key(&self) -> impl std::fmt::Display {
                &self.0
            }

            fn parse_key(key: &str) -> Result<Self, String> {
                Ok(Self(key.to_owned()))
            }
        }
    };
}

key!(NoteId, "note");
key!(SplitCategory, "note-book");
key!(EmptyCategory, "");

#[derive(Command)]
struct Take<K: StreamKey<Event = Noted>> {
    #[stream]
    note: K,
    #[stream(read)]
    guard: Option<NoteId>,
    #[stream]
    many: Vec<NoteId>,
}

impl<K: StreamKey<Event = Noted>> CommandLogic for Take<K> {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: TakeEvent<'_, K>) {}

    fn handle(&self, (): &(), _: TakeStreams<'_, K>) -> Result<(), Infallible> {
        Ok(())
    }
}

fn note<K: StreamKey<Event = Noted>>(note: K, guard: Option<&str>, many: &[&str]) -> Take<K> {
    let id = |key: &str| NoteId(key.to_owned());
    Take {
        note,
        guard: guard.map(id),
        many: many.iter().map(|key| id(key)).collect(),
    }
}

/// Runs the command on a store that must not be asked.
async fn refused<C: CommandLogic>(
    command: C,
    options: impl Into<ExecuteOptions>,
) -> CommandError<C::Error> {
    match execute(&Untouchable, command, options).await {
        Err(error) => error,
        Ok(done) => panic!("committed at {}", done.position()),
    }
}

#[test]
fn a_text_that_is_no_stream_id_says_which_rule_it_breaks() {
    use StreamIdError as E;
    let error = |text: &str| StreamId::new(text).unwrap_err();
    assert_eq!(error(""), E::Empty);
    let long = format!("note-{}", "ü".repeat(251));
    assert_eq!(error(&long), E::TooLong { chars: 256 });
    for found in [
        '\0', '\n', '\t', '\u{7f}', '\u{85}', '*', '?', '[', ']', '{', '}',
    ] {
        let text = format!("nöte-{found}");
        assert_eq!(error(&text), E::ForbiddenCharacter { found, index: 6 });
    }
    let id = |text: &str| text.to_owned();
    assert_eq!(error("note"), E::NoSeparator { id: id("note") });
    assert_eq!(error("note-"), E::EmptyKey { id: id("note-") });
    assert_eq!(error("-1"), E::EmptyCategory { id: id("-1") });
    let longest = format!("note-{}", "ü".repeat(250));
    assert_eq!(StreamId::new(&longest).unwrap().as_str(), longest);
    let dashes = StreamId::new("note-1-2").unwrap();
    assert_eq!((dashes.category(), dashes.key()), ("note", "1-2"));
}

#[tokio::test]
async fn a_key_that_makes_no_stream_id_names_its_field_before_any_io() {
    use StreamIdError as E;
    let text = |text: &str| text.to_owned();
    let source = |error: CommandError<Infallible>, expected_field| match error {
        CommandError::Declaration(DeclarationError::InvalidStreamId { field, source }) => {
            assert_eq!(field, expected_field);
            source
        }
        other => panic!("{other}"),
    };
    let split = refused(
        note(SplitCategory(text("1")), None, &[]),
        RetryPolicy::new(),
    );
    assert_eq!(
        source(split.await, "note"),
        E::SeparatorInCategory {
            category: text("note-book")
        }
    );
    let empty = refused(
        note(EmptyCategory(text("1")), None, &[]),
        RetryPolicy::new(),
    );
    assert_eq!(
        source(empty.await, "note"),
        E::EmptyCategory { id: text("-1") }
    );
    let guard = refused(note(NoteId(text("1")), Some(""), &[]), RetryPolicy::new());
    assert_eq!(
        source(guard.await, "guard"),
        E::EmptyKey { id: text("note-") }
    );
    let many = refused(
        note(NoteId(text("1")), None, &["2", "a*"]),
        RetryPolicy::new(),
    );
    assert_eq!(
        source(many.await, "many"),
        E::ForbiddenCharacter {
            found: '*',
            index: 6
        }
    );
}

#[tokio::test]
async fn a_stream_named_twice_is_refused_before_any_io() {
    let others: Vec<String> = (2..40).map(|n| n.to_string()).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let with = |last| [others.as_slice(), &[last]].concat();
    for (guard, many, fields) in [
        (Some("1"), vec![], ("note", "guard")),
        (None, vec!["1"], ("note", "many")),
        (Some("7"), vec!["8", "7"], ("guard", "many")),
        (None, vec!["8", "8"], ("many", "many")),
        // Enough streams to be hashed rather than compared.
        (None, with("1"), ("note", "many")),
        (None, with("39"), ("many", "many")),
    ] {
        let command = note(NoteId("1".to_owned()), guard, &many);
        match refused(command, RetryPolicy::new()).await {
            CommandError::Declaration(DeclarationError::DuplicateStream {
                first, second, ..
            }) => assert_eq!((first, second), fields),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn too_many_declared_streams_are_refused_before_any_io() {
    let command = note(NoteId("1".to_owned()), Some("2"), &["3", "4"]);
    let options = ExecuteOptions::new().max_streams(3);
    match refused(command, options).await {
        CommandError::TooManyStreams {
            streams: 4,
            limit: 3,
        } => {}
        other => panic!("{other}"),
    }
}

/// The bounds are what a commit may still have. That it may have no more, the contract suite asks.
#[test]
fn a_commit_may_be_as_large_as_its_bounds() {
    let expected = |streams: usize| {
        let one = |number| ExpectedVersion {
            stream: StreamId::new(format!("note-{number}")).unwrap(),
            version: Version::EMPTY,
            event_id: None,
        };
        (0..streams).map(one).collect()
    };
    let events = |payload: String, events| {
        let event = NewEvent {
            stream: 0,
            type_name: "Noted",
            payload: payload.into(),
        };
        vec![event; events]
    };
    let commit = |expected, events| -> Result<usize, AppendError> {
        let commit = AppendRequest::new(
            CommitId::generate(),
            expected,
            events,
            Metadata::default(),
            None,
        )?;
        Ok(commit.expected().len() + commit.events().len())
    };
    let most = commit(expected(MAX_COMMIT_STREAMS), vec![]);
    assert_eq!(most, Ok(MAX_COMMIT_STREAMS));
    let no_json = "{".repeat(MAX_EVENT_BYTES);
    let refused = commit(expected(1), events(no_json, 1));
    assert!(matches!(refused, Err(AppendError::NotJson { .. })));
    let most = commit(expected(1), events("1".to_owned(), MAX_COMMIT_EVENTS));
    assert_eq!(most, Ok(1 + MAX_COMMIT_EVENTS));
    let (count, rest) = (
        MAX_COMMIT_BYTES / MAX_EVENT_BYTES,
        MAX_COMMIT_BYTES % MAX_EVENT_BYTES,
    );
    assert_eq!(
        rest, 0,
        "or these events are not as many bytes as a commit may have"
    );
    let largest = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES - 2));
    assert_eq!(commit(expected(1), events(largest, count)), Ok(1 + count));
}
