//! A store that hangs: a command ends at its deadline, and says what it knows.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use eventcore::{
    Command, CommandError, CommandLogic, CommitId, Event, EventStore, EventStoreError,
    ExecuteOptions, ExecutionResponse, IdempotencyKey, Position, RetryPolicy, StreamKey, execute,
    execute::{ExecutePipeline, Step},
    memory::MemoryEventStore,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StoreFuture,
        StreamPage,
    },
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize, Event)]
struct Noted {}

#[derive(StreamKey)]
#[stream_key(category = "note", event = Noted)]
struct NoteId(u32);

#[derive(Command)]
struct Note {
    #[stream]
    note: NoteId,
    lines: usize,
}

impl CommandLogic for Note {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: NoteEvent<'_>) {}

    fn handle(&self, (): &(), streams: NoteStreams<'_>) -> Result<(), Infallible> {
        for _ in 0..self.lines {
            streams.note.append(Noted {});
        }
        Ok(())
    }
}

/// A command that writes so many events.
fn note(lines: usize) -> Note {
    let note = NoteId(1);
    Note { note, lines }
}

/// Answers some calls and then never again.
#[derive(Default)]
struct Hanging {
    inner: MemoryEventStore,
    reads: usize,
    read: AtomicUsize,
    /// The commit is made, and its answer is lost.
    commits: bool,
    appended: AtomicUsize,
}

impl EventStore for Hanging {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            if self.read.fetch_add(1, Ordering::Relaxed) >= self.reads {
                std::future::pending::<()>().await;
            }
            self.inner.read_streams(request).await
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            self.appended.fetch_add(1, Ordering::Relaxed);
            if self.commits {
                self.inner.append(request).await?;
            }
            std::future::pending().await
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.inner.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.inner.wait_for_event(after)
    }
}

const SHORT: Duration = Duration::from_millis(50);
/// Enough for a read that answers at once on a machine that is busy.
const LONGER: Duration = Duration::from_secs(2);

async fn noted(
    store: &Hanging,
    deadline: Duration,
) -> Result<ExecutionResponse, CommandError<Infallible>> {
    run(store, note(1), ExecuteOptions::new().deadline(deadline)).await
}

async fn run(
    store: &Hanging,
    command: Note,
    options: ExecuteOptions,
) -> Result<ExecutionResponse, CommandError<Infallible>> {
    let command = execute(store, command, options);
    tokio::time::timeout(Duration::from_secs(20), command)
        .await
        .expect("the command hangs with its store")
}

#[tokio::test]
async fn a_read_that_hangs_ends_at_the_deadline_with_nothing_written() {
    let store = Hanging::default();
    match noted(&store, SHORT).await.unwrap_err() {
        error @ CommandError::DeadlineExceeded { attempts: 1, .. } => {
            assert!(error.to_string().contains("50ms"), "{error}");
        }
        other => panic!("{other}"),
    }
    assert_eq!(store.appended.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_append_that_hangs_ends_at_the_deadline_with_an_open_outcome() {
    for commits in [false, true] {
        let store = Hanging {
            reads: 1,
            commits,
            ..Hanging::default()
        };
        let error = noted(&store, LONGER).await.unwrap_err();
        assert!(
            matches!(error, CommandError::OutcomeUnknown { .. }),
            "{error}"
        );
        assert_eq!(store.appended.load(Ordering::Relaxed), 1);
    }
}

/// A command that writes nothing only asks whether its versions hold. With a key it writes the key.
#[tokio::test]
async fn a_commit_of_nothing_leaves_nothing_open() {
    let store = || Hanging {
        reads: 1,
        ..Hanging::default()
    };
    let options = ExecuteOptions::new().deadline(LONGER);
    let error = run(&store(), note(0), options.clone()).await.unwrap_err();
    assert!(
        matches!(error, CommandError::DeadlineExceeded { .. }),
        "{error}"
    );
    let keyed = options.idempotency_key(IdempotencyKey::new("once").unwrap());
    let error = run(&store(), note(0), keyed).await.unwrap_err();
    assert!(
        matches!(error, CommandError::OutcomeUnknown { .. }),
        "{error}"
    );

    // The same where the store says that it does not know.
    let id = CommitId::generate();
    let Step::ReadStreams(read) =
        ExecutePipeline::new(note(0), RetryPolicy::never().into(), id).start()
    else {
        panic!("it reads first")
    };
    let page = store().inner.read_streams(read.request().clone()).await;
    let Step::Append(append) = read.resume(page, Duration::ZERO) else {
        panic!("then it appends")
    };
    let unknown = EventStoreError::OutcomeUnknown {
        source: "cut".into(),
    };
    let Step::Done {
        result: Err(error), ..
    } = append.resume(Err(unknown), Duration::ZERO)
    else {
        panic!("and there is no other attempt")
    };
    assert!(
        matches!(
            error,
            CommandError::EventStoreError(EventStoreError::Unavailable { .. })
        ),
        "{error}"
    );
}

#[tokio::test]
async fn an_append_that_comes_too_late_is_not_sent() {
    #[derive(Command)]
    struct Slow {
        #[stream]
        note: NoteId,
    }

    impl CommandLogic for Slow {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), _: SlowEvent<'_>) {}

        fn handle(&self, (): &(), streams: SlowStreams<'_>) -> Result<(), Infallible> {
            std::thread::sleep(Duration::from_millis(60));
            streams.note.append(Noted {});
            Ok(())
        }
    }

    let store = Hanging {
        reads: 1,
        ..Hanging::default()
    };
    let options = ExecuteOptions::new().deadline(Duration::from_millis(50));
    let error = execute(&store, Slow { note: NoteId(1) }, options)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommandError::DeadlineExceeded { .. }),
        "{error}"
    );
    assert_eq!(store.appended.load(Ordering::Relaxed), 0);
}
