//! The spans of `execute`: the command, and each attempt with its streams.
//!
//! A program of its own: while there is one subscriber, the thread that first comes to a span decides whether it is ever
//! recorded, and the threads of other tests have no subscriber.

use std::{
    convert::Infallible,
    fmt::Debug,
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use eventcore::{
    Command, CommandLogic, Event, RetryPolicy, StreamKey, execute, memory::MemoryEventStore,
    testing::ChaosStore,
};
use serde::{Deserialize, Serialize};
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

#[derive(Debug, Serialize, Deserialize, Event)]
struct Noted {}

#[derive(StreamKey)]
#[stream_key(category = "note", event = Noted)]
struct NoteId(u32);

#[derive(Command)]
struct Note {
    #[stream]
    from: NoteId,
    #[stream]
    to: NoteId,
}

impl CommandLogic for Note {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: NoteEvent<'_>) {}

    fn handle(&self, (): &(), streams: NoteStreams<'_>) -> Result<(), Infallible> {
        streams.to.append(Noted {});
        Ok(())
    }
}

/// Writes down every new span with its fields.
#[derive(Clone, Default)]
struct Spans {
    seen: Arc<Mutex<Vec<String>>>,
    next: Arc<AtomicU64>,
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        self.seen.lock().unwrap().push(line.0);
        Id::from_u64(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_command_has_a_span_and_each_attempt_has_one_with_its_streams() {
    let spans = Spans::default();
    let attempts = tracing::subscriber::with_default(spans.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = ChaosStore::new(MemoryEventStore::new(), 7).conflicts(0.7);
            let (from, to) = (NoteId(1), NoteId(2));
            let done = execute(&store, Note { from, to }, RetryPolicy::new()).await;
            done.unwrap().attempts()
        })
    });
    let seen = spans.seen.lock().unwrap();
    assert!(attempts > 1, "no attempt was retried");
    assert_eq!(seen[0], "command name=\"spans::Note\"");
    let expected = (1..=attempts).map(|n| format!("attempt number={n} streams=note-1, note-2"));
    assert!(
        seen[1..].iter().eq(&expected.collect::<Vec<_>>()),
        "{seen:?}"
    );
}
