//! Metrics of commands and projections: the names in the guide, and figures that fit.
//!
//! A program of its own: the recorder is that of the process, and would count the commands of other tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use eventcore::{
    Command, CommandLogic, Event, ExecuteOptions, Position, RecordedEvent, RetryPolicy, StreamKey,
    execute,
    memory::MemoryEventStore,
    projection::{ErrorPolicy, MemoryReadModel, MemoryTransaction, Projection, ProjectionRunner},
    require,
    testing::ChaosStore,
};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
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
    is_welcome: bool,
}

impl Note {
    fn new(is_welcome: bool) -> Self {
        let note = NoteId(1);
        Self { note, is_welcome }
    }
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("nobody wants this note")]
struct Unwelcome;

impl CommandLogic for Note {
    type State = ();
    type Error = Unwelcome;

    fn apply(&self, (): &mut (), _: NoteEvent<'_>) {}

    fn handle(&self, (): &(), streams: NoteStreams<'_>) -> Result<(), Unwelcome> {
        require!(self.is_welcome, Unwelcome);
        streams.note.append(Noted {});
        Ok(())
    }
}

/// Counts the notes, except some.
struct Counting;

impl Projection<MemoryTransaction<u64>> for Counting {
    type Feed = RecordedEvent;
    type Error = String;
    const NAME: &'static str = "counting";

    async fn apply(
        &self,
        event: RecordedEvent,
        _: &RecordedEvent,
        count: &mut MemoryTransaction<u64>,
    ) -> Result<(), String> {
        if event.position.get().is_multiple_of(10) {
            return Err("not this one".to_owned());
        }
        **count += 1;
        Ok(())
    }
}

/// The metrics so far, by kind and by name and labels, such as `name{label=value}`.
#[derive(Debug, Default)]
struct Figures(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    counters: BTreeMap<String, Arc<AtomicU64>>,
    gauges: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Values>>,
}

#[derive(Debug, Default)]
struct Values(Mutex<Vec<f64>>);

impl metrics::HistogramFn for Values {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

fn name_of(key: &Key) -> String {
    let labels = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()));
    format!("{}{{{}}}", key.name(), labels.collect::<Vec<_>>().join(","))
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut kept = self.0.lock().unwrap();
        Counter::from_arc(kept.counters.entry(name_of(key)).or_default().clone())
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut kept = self.0.lock().unwrap();
        Gauge::from_arc(kept.gauges.entry(name_of(key)).or_default().clone())
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut kept = self.0.lock().unwrap();
        Histogram::from_arc(kept.histograms.entry(name_of(key)).or_default().clone())
    }
}

impl Figures {
    fn counter(&self, name: &str) -> u64 {
        let kept = self.0.lock().unwrap();
        let found = kept.counters.get(name);
        found
            .unwrap_or_else(|| panic!("no {name} in {kept:?}"))
            .load(Ordering::Relaxed)
    }

    /// A gauge whose values are whole numbers, or else rounded down.
    fn gauge(&self, name: &str) -> u64 {
        let found = self.find_gauge(name);
        found.unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    fn find_gauge(&self, name: &str) -> Option<u64> {
        let kept = self.0.lock().unwrap();
        let bits = kept.gauges.get(name)?.load(Ordering::Relaxed);
        Some(f64::from_bits(bits) as u64)
    }

    fn histogram(&self, name: &str) -> Vec<f64> {
        let kept = self.0.lock().unwrap();
        let found = kept.histograms.get(name);
        let found = found.unwrap_or_else(|| panic!("no {name} in {kept:?}"));
        found.0.lock().unwrap().clone()
    }

    /// The names that begin so, with their kinds.
    fn named(&self, prefix: &str) -> BTreeSet<(String, String)> {
        let kept = self.0.lock().unwrap();
        let kinds = [
            ("counter", kept.counters.keys().collect::<Vec<_>>()),
            ("gauge", kept.gauges.keys().collect()),
            ("histogram", kept.histograms.keys().collect()),
        ];
        let each = kinds.iter().flat_map(|(kind, names)| {
            names.iter().map(|name| {
                (
                    name.split_once('{').unwrap().0.to_owned(),
                    (*kind).to_owned(),
                )
            })
        });
        each.filter(|(name, _)| name.starts_with(prefix)).collect()
    }
}

/// The names in the table of a chapter, with their kinds.
fn documented(chapter: &str) -> BTreeSet<(String, String)> {
    let rows = chapter.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `eventcore_")?.split_once("` | ")?;
        let (kind, _) = rest.split_once(' ')?;
        Some((format!("eventcore_{name}"), kind.to_owned()))
    });
    rows.collect()
}

/// Runs in one thread, which has a recorder of its own.
fn recorded(work: impl AsyncFnOnce(&Figures)) {
    let figures = Figures::default();
    metrics::with_local_recorder(&figures, || {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(work(&figures));
    });
}

#[test]
fn commands_count_what_became_of_them() {
    recorded(async |figures| {
        let store = MemoryEventStore::new();
        for _ in 0..3 {
            execute(&store, Note::new(true), RetryPolicy::new())
                .await
                .unwrap();
        }
        execute(&store, Note::new(false), RetryPolicy::new())
            .await
            .unwrap_err();
        let never = || ExecuteOptions::from(RetryPolicy::never());
        let chaos = || ChaosStore::new(MemoryEventStore::new(), 7);
        let conflicts = chaos().conflicts(1.0);
        execute(&conflicts, Note::new(true), never())
            .await
            .unwrap_err();
        let fails = chaos().failures(1.0);
        execute(&fails, Note::new(true), never()).await.unwrap_err();
        let soon = RetryPolicy::new().deadline(Duration::from_millis(100));
        let unknown = chaos().unknown_before_commit(1.0);
        execute(&unknown, Note::new(true), soon).await.unwrap_err();
        let of = |outcome: &str| {
            let name =
                format!("eventcore_commands_total{{command=metrics::Note,outcome={outcome}}}");
            figures.counter(&name)
        };
        assert_eq!(
            ["committed", "refused", "conflict", "failed", "unknown"].map(of),
            [3, 1, 1, 1, 1]
        );
        let took = figures.histogram("eventcore_command_seconds{command=metrics::Note}");
        assert_eq!(took.len(), 7);
        assert!(
            took.iter().all(|seconds| (0.0..60.0).contains(seconds)),
            "{took:?}"
        );
        assert!(
            took[6] >= 0.1,
            "the last one had its time until the deadline: {took:?}"
        );

        // As many retries as the response says.
        let shaky = ChaosStore::new(MemoryEventStore::new(), 7)
            .conflicts(0.4)
            .failures(0.2);
        let mut retries = 0;
        for _ in 0..20 {
            let done = execute(&shaky, Note::new(true), RetryPolicy::new()).await;
            retries += u64::from(done.unwrap().attempts()) - 1;
        }
        let of = |reason: &str| {
            let name =
                format!("eventcore_command_retries_total{{command=metrics::Note,reason={reason}}}");
            figures.counter(&name)
        };
        let (conflict, unavailable) = (of("conflict"), of("unavailable"));
        assert!(conflict > 0 && unavailable > 0);
        assert_eq!(conflict + unavailable, retries);
        assert_eq!(
            figures.named("eventcore_command"),
            documented(include_str!("../docs/commands.md"))
        );
    });
}

#[test]
fn projections_report_what_they_do() {
    recorded(async |figures| {
        let store = Arc::new(MemoryEventStore::new());
        let note = async |count: u32| {
            for _ in 0..count {
                execute(&store, Note::new(true), RetryPolicy::new())
                    .await
                    .unwrap();
            }
        };
        note(35).await;
        let policy = ErrorPolicy::park().attempts(2);
        let model = MemoryReadModel::<u64>::new();
        let running = ProjectionRunner::with_database(store.clone(), model.clone(), Counting)
            .on_error(policy.backoff(Duration::ZERO, Duration::ZERO))
            .start();
        running
            .wait_for(Position::new(35), Duration::from_mins(2))
            .await
            .unwrap();
        assert_eq!(*model.read().await, 32);
        let status = running.status().await.unwrap();
        assert_eq!(status.lag, 0);
        let of = |what: &str| format!("eventcore_projection_{what}{{projection=counting}}");
        assert_eq!(figures.counter(&of("events_total")), 32);
        assert_eq!(figures.counter(&of("errors_total")), 6, "two attempts each");
        assert_eq!(figures.counter(&of("parked_total")), 3);
        assert_eq!(figures.gauge(&of("position")), 35);
        assert_eq!(figures.gauge(&of("leads")), 1);
        assert_eq!(figures.gauge(&of("lag_events")), 0);
        assert_eq!(figures.gauge(&of("lag_seconds")), 0);
        let took = figures.histogram(&of("batch_seconds"));
        assert!(
            !took.is_empty() && took.iter().all(|seconds| (0.0..60.0).contains(seconds)),
            "{took:?}"
        );
        assert_eq!(
            figures.named("eventcore_projection_"),
            documented(include_str!("../docs/projections.md"))
        );

        running.stop().await.unwrap();
        note(5).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        eventcore::projection::status(&store, &model, "counting")
            .await
            .unwrap();
        assert_eq!(figures.gauge(&of("leads")), 0);
        assert_eq!(figures.gauge(&of("lag_events")), 5);
        assert!(figures.gauge(&of("lag_seconds")) >= 1);
    });
}

/// Applies nothing from the tenth event on.
struct Stuck;

impl Projection<MemoryTransaction<()>> for Stuck {
    type Feed = RecordedEvent;
    type Error = String;
    const NAME: &'static str = "stuck";

    async fn apply(
        &self,
        event: RecordedEvent,
        _: &RecordedEvent,
        _: &mut MemoryTransaction<()>,
    ) -> Result<(), String> {
        if event.position.get() >= 10 {
            return Err("not yet".to_owned());
        }
        Ok(())
    }
}

#[test]
fn the_lag_of_a_projection_that_is_stuck_is_reported_without_being_asked_for() {
    recorded(async |figures| {
        let store = Arc::new(MemoryEventStore::new());
        for _ in 0..35 {
            execute(&store, Note::new(true), RetryPolicy::new())
                .await
                .unwrap();
        }
        let ms = Duration::from_millis;
        let model = MemoryReadModel::default();
        let running = ProjectionRunner::with_database(store.clone(), model, Stuck)
            .on_error(ErrorPolicy::retry().backoff(ms(10), ms(10)))
            .start();
        let lag = async |wanted: u64| {
            while figures
                .find_gauge("eventcore_projection_lag_events{projection=stuck}")
                .is_none_or(|lag| lag != wanted)
            {
                tokio::time::sleep(ms(10)).await;
            }
        };
        let patience = Duration::from_mins(2);
        tokio::time::timeout(patience, lag(26)).await.unwrap();
        for _ in 0..5 {
            execute(&store, Note::new(true), RetryPolicy::new())
                .await
                .unwrap();
        }
        tokio::time::timeout(patience, lag(31)).await.unwrap();
        running.stop().await.unwrap();
    });
}
