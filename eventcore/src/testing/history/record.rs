//! Records the reads and appends of commands, by wrapping the store for each command.

use std::{
    io::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    NO_EVENTS,
    entry::{Attempt, Ended, Entry, Outcome, ReadStream, Started, WrittenEvent},
    mark,
};
use crate::{
    CommandError, CommandLogic, EventStore, ExecuteOptions, ExecutionResponse, Position, execute,
    store::{
        AppendRequest, CommitReceipt, FeedPage, ReadFeedRequest, ReadStreamsRequest, StateCache,
        StoreFuture, StreamCursor, StreamPage, StreamQueues,
    },
};

/// Runs commands and records, as lines of JSON, the reads, appends, start, end and outcome of each,
/// including commands that were rejected, failed or have an unknown outcome.
///
/// Share one history among the tasks of a process, and use a separate one with a different name in
/// each process. Times come from the system clock, so run all processes on one machine and do not
/// adjust its clock.
#[derive(Debug)]
pub struct History<W> {
    name: String,
    out: Mutex<W>,
    commands: AtomicU64,
}

impl<W: Write + Send> History<W> {
    /// Creates a history that writes to `out`. `name` must be unique among the histories that are
    /// checked together.
    pub fn new(name: impl Into<String>, out: W) -> Self {
        Self {
            name: name.into(),
            out: Mutex::new(out),
            commands: AtomicU64::new(0),
        }
    }

    /// Runs a command like [`execute`](crate::execute()), and records it. The inner result is that
    /// of the command.
    ///
    /// # Errors
    /// Returns an error if a line cannot be written.
    pub async fn execute<C, S>(
        &self,
        store: &S,
        command: C,
        options: impl Into<ExecuteOptions>,
    ) -> std::io::Result<Result<ExecutionResponse, CommandError<C::Error>>>
    where
        C: CommandLogic,
        C::Error: std::fmt::Debug,
        S: EventStore + ?Sized,
    {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}:{number}", self.name);
        self.write(&Entry::Started(Started {
            command: id.clone(),
            at: now(),
        }))?;
        let listener = Listener {
            store,
            history: self,
            command: id,
            seen: Mutex::default(),
        };
        let result = execute(&listener, command, options).await;
        let at = now();
        let Listener { command, seen, .. } = listener;
        let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = seen.failed {
            return Err(failed);
        }
        self.write(&Entry::Ended(Ended {
            command,
            at,
            one_snapshot: seen.rounds == 1,
            read: seen.read,
            outcome: outcome(&result),
        }))?;
        Ok(result)
    }

    /// Returns the underlying writer.
    pub fn into_inner(self) -> W {
        self.out
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes and flushes a whole line, so that it survives if the process is killed.
    fn write(&self, entry: &Entry) -> std::io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(&line)?;
        out.flush()
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn outcome<E: std::fmt::Debug>(result: &Result<ExecutionResponse, CommandError<E>>) -> Outcome {
    match result {
        Ok(done) => Outcome::Committed {
            position: done.position().get(),
            events: done.events_written(),
            repeated: done.is_repeated(),
        },
        Err(CommandError::BusinessRuleViolation(_)) => Outcome::Rejected,
        Err(CommandError::OutcomeUnknown { .. }) => Outcome::Unknown,
        Err(other) => Outcome::Failed(format!("{other:?}")),
    }
}

/// Wraps the store to record the calls of one command.
struct Listener<'h, W, S: ?Sized> {
    store: &'h S,
    history: &'h History<W>,
    command: String,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    read: Vec<ReadStream>,
    /// The number of snapshots read.
    rounds: usize,
    failed: Option<std::io::Error>,
}

impl<W, S: ?Sized> Listener<'_, W, S> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn page(&mut self, request: &ReadStreamsRequest, page: &StreamPage) {
        let first = request.snapshot.is_none();
        self.rounds += usize::from(first);
        if first {
            // A stream that is not read on from where it was is read anew.
            self.read.retain(|read| {
                let goes_on = |cursor: &StreamCursor| {
                    read.stream != cursor.stream.as_str() || read.version == cursor.after.get()
                };
                request.streams.iter().all(goes_on)
            });
        }
        for (number, cursor) in request.streams.iter().enumerate() {
            let read = self.stream(cursor);
            if let (true, Some(extent)) = (first, page.streams.get(number)) {
                read.version = extent.head.version().get();
            }
            for event in page.events.iter().filter(|event| event.stream == number) {
                read.mark = mark(read.mark, &event.type_name, &event.payload);
            }
        }
    }

    fn stream(&mut self, cursor: &StreamCursor) -> &mut ReadStream {
        let id = &cursor.stream;
        let found = self.read.iter().position(|read| read.stream == id.as_str());
        let place = found.unwrap_or(self.read.len());
        if found.is_none() {
            self.read.push(ReadStream {
                stream: id.as_str().to_owned(),
                version: 0,
                after: cursor.after.get(),
                mark: NO_EVENTS,
            });
        }
        #[allow(clippy::indexing_slicing, reason = "found, or just added")]
        &mut self.read[place]
    }
}

impl<W: Write + Send, S: EventStore + ?Sized> EventStore for Listener<'_, W, S> {
    fn read_streams(&self, request: ReadStreamsRequest) -> StoreFuture<'_, StreamPage> {
        Box::pin(async move {
            let page = self.store.read_streams(request.clone()).await?;
            self.seen().page(&request, &page);
            Ok(page)
        })
    }

    fn append(&self, request: AppendRequest) -> StoreFuture<'_, CommitReceipt> {
        Box::pin(async move {
            if let Err(failed) = self
                .history
                .write(&Entry::Appending(self.attempt(&request)))
            {
                self.seen().failed = Some(failed);
            }
            self.store.append(request).await
        })
    }

    fn read_feed(&self, request: ReadFeedRequest) -> StoreFuture<'_, FeedPage> {
        self.store.read_feed(request)
    }

    fn wait_for_event(&self, after: Position) -> StoreFuture<'_, ()> {
        self.store.wait_for_event(after)
    }

    fn queues(&self) -> Option<&StreamQueues> {
        self.store.queues()
    }

    fn states(&self) -> Option<&StateCache> {
        self.store.states()
    }
}

impl<W, S: ?Sized> Listener<'_, W, S> {
    fn attempt(&self, request: &AppendRequest) -> Attempt {
        let expected = request.expected().iter();
        let events = request.events().iter().map(|event| WrittenEvent {
            stream: event.stream,
            type_name: event.type_name.to_owned(),
            payload: String::from_utf8_lossy(&event.payload).into_owned(),
        });
        Attempt {
            command: self.command.clone(),
            commit: request.commit_id().as_uuid(),
            expected: expected
                .map(|expected| (expected.stream.as_str().to_owned(), expected.version.get()))
                .collect(),
            events: events.collect(),
        }
    }
}
