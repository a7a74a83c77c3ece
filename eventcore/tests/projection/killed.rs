//! Exactly once through kill -9: many processes write, the one that runs the projection is killed again and again.
//!
//! `EVENTCORE_TEST_LONG=1` makes it 16 writers in 4 processes for a minute and 20 kills.

use std::{
    collections::{BTreeSet, HashSet},
    convert::Infallible,
    process::{Child, Command as Process, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    Command, CommandError, CommandLogic, Event, EventFilter, EventStore, Position, RecordedEvent,
    StreamKey,
    memory::MemoryEventStore,
    projection::{
        Automation, ErrorPolicy, MemoryReadModel, MemoryTransaction, Projection,
        ProjectionDatabase, ProjectionRunner, Reaction, ReadModel, RebuildOutcome, wait_for,
    },
    store::ReadFeedRequest,
};
use serde::{Deserialize, Serialize};

use crate::projection::{Db, Postgres, Sqlite, Sums, TallyEvent, TallyId, add, expected};

const CHILD: &str = "EVENTCORE_TEST_CHILD";
const SOON: Duration = Duration::from_mins(10);

fn is_long() -> bool {
    std::env::var_os("EVENTCORE_TEST_LONG").is_some()
}

/// A process of this program that does one thing with a database.
fn spawn(what: &str, database: &str, location: &str) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["killed::child", "--exact", "--nocapture"])
        .env(CHILD, format!("{what} {database} {location}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The work of a child process; does nothing in the test run itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let [what, database, location] = task.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{task}")
    };
    match database {
        "sqlite" => work(what, Sqlite::open(location).await).await,
        _ => work(what, Postgres::open(location).await).await,
    }
}

async fn work<D: Db>(what: &str, db: D) {
    let lease = Duration::from_millis(300);
    match what {
        "project" => {
            let runner = ProjectionRunner::new(db.store().clone(), Sums::default()).lease(lease);
            runner.run_until(std::future::pending()).await.unwrap();
        }
        "automate" => {
            let runner = ProjectionRunner::automation(db.store().clone(), Answer).lease(lease);
            runner.run_until(std::future::pending()).await.unwrap();
        }
        _ => {
            let writers = (0..4).map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    let started = Instant::now();
                    let mut number = 0;
                    while if is_long() {
                        started.elapsed().as_secs() < 60
                    } else {
                        number < 30
                    } {
                        number += 1;
                        add(db.store(), (writer + number) % 10, 1 + number % 5).await;
                    }
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await.unwrap();
            }
        }
    }
}

async fn the_read_model_is_exact_through_kills<D: Db>(database: &str) {
    let db = D::fresh().await;
    let processes = if is_long() { 4 } else { 2 };
    let mut writers: Vec<_> = (0..processes)
        .map(|_| spawn("write", database, &db.location()))
        .collect();
    let kills = if is_long() { 20 } else { 5 };
    let mut came = BTreeSet::new();
    for kill in 0..kills {
        let mut victim = spawn("project", database, &db.location());
        // Once it leads and works, some time later.
        let started = Instant::now();
        let before = came.last().copied().unwrap_or(0);
        // Something is left to apply, even if the writers are done.
        add(db.store(), kill, 1).await;
        loop {
            let record = db.store().live("sums").record().await.unwrap();
            let position = record.map_or(0, |record| record.position.get());
            if position > before {
                break;
            }
            assert!(victim.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(started.elapsed() < SOON, "it does not get beyond {before}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let spread = if is_long() { 2500 } else { 0 };
        tokio::time::sleep(Duration::from_millis(spread + kill * 37 % 200)).await;
        victim.kill().unwrap();
        victim.wait().unwrap();
        let record = db.store().live("sums").record().await.unwrap();
        came.insert(record.map_or(0, |record| record.position.get()));
    }
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success(), "a writer failed");
    }
    // It got further between any two kills.
    assert_eq!(came.len() as u64, kills, "{came:?}");
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    let head = head(db.store()).await;
    running.wait_for(head, SOON).await.unwrap();
    running.stop().await.unwrap();
    assert_eq!(db.sums().await, expected(db.store(), &HashSet::new()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_model_is_exact_through_kills_on_sqlite() {
    the_read_model_is_exact_through_kills::<Sqlite>("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_read_model_is_exact_through_kills_on_postgres() {
    the_read_model_is_exact_through_kills::<Postgres>("postgres").await;
}

async fn head(store: &impl EventStore) -> Position {
    let request = ReadFeedRequest {
        after: Position::new(u64::MAX),
        filter: EventFilter::All,
        limit: 1,
    };
    store.read_feed(request).await.unwrap().scanned_to
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
enum AnswerEvent {
    Given { to: u64 },
}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "answer", event = AnswerEvent)]
struct AnswerId(u64);

#[derive(Command)]
struct Give {
    #[stream]
    answer: AnswerId,
    to: u64,
}

impl CommandLogic for Give {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: GiveEvent<'_>) {}

    /// It does not look whether it was given already: that is for the idempotency key.
    fn handle(&self, (): &(), streams: GiveStreams<'_>) -> Result<(), Infallible> {
        streams.answer.append(AnswerEvent::Given { to: self.to });
        Ok(())
    }
}

/// Answers each event with two commands.
struct Answer;

impl<S: EventStore> Automation<S> for Answer {
    type Feed = (TallyId, TallyEvent);
    type Error = CommandError<Infallible>;
    const NAME: &'static str = "answers";

    async fn react(
        &self,
        (TallyId(tally), _): Self::Feed,
        reaction: &mut Reaction<'_, S>,
    ) -> Result<(), Self::Error> {
        let to = reaction.event().position.get();
        for answer in [tally, tally + 100] {
            let answer = AnswerId(answer);
            reaction.execute(Give { answer, to }).await?;
        }
        Ok(())
    }
}

/// The answers that were given, each by its stream.
async fn answers(store: &impl EventStore) -> Vec<(u64, u64)> {
    let (mut answers, mut after) = (Vec::new(), Position::START);
    loop {
        let filter = EventFilter::any_of([eventcore::EventSelector::category("answer")]);
        let request = ReadFeedRequest {
            after,
            filter,
            limit: 1000,
        };
        let page = store.read_feed(request).await.unwrap();
        for event in &page.events {
            let (AnswerId(answer), AnswerEvent::Given { to }) = event.keyed().unwrap();
            assert!(
                event.metadata.causation_id.is_some(),
                "an answer names no cause"
            );
            answers.push((to, answer));
        }
        if page.scanned_to == after {
            answers.sort_unstable();
            return answers;
        }
        after = page.scanned_to;
    }
}

async fn each_command_of_an_automation_is_issued_once<D: Db>(database: &str) {
    let db = D::fresh().await;
    let events = 60;
    for number in 0..events {
        add(db.store(), number % 7, 1).await;
    }
    // Each event is answered twice.
    let all = usize::try_from(2 * events).unwrap();
    for kill in 0..6 {
        let wanted = (answers(db.store()).await.len() + 3).min(all);
        let mut victim = spawn("automate", database, &db.location());
        let started = Instant::now();
        while answers(db.store()).await.len() < wanted {
            assert!(victim.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(started.elapsed() < SOON, "no {wanted} answers are given");
            tokio::time::sleep(Duration::from_millis(kill)).await;
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
    }
    let running = ProjectionRunner::automation(db.store().clone(), Answer).start();
    running.wait_for(Position::new(events), SOON).await.unwrap();
    running.stop().await.unwrap();
    let wanted: Vec<_> = (1..=events)
        .flat_map(|to| [(to, (to - 1) % 7), (to, (to - 1) % 7 + 100)])
        .collect();
    assert_eq!(answers(db.store()).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_of_an_automation_is_issued_once_on_sqlite() {
    each_command_of_an_automation_is_issued_once::<Sqlite>("sqlite").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_of_an_automation_is_issued_once_on_postgres() {
    each_command_of_an_automation_is_issued_once::<Postgres>("postgres").await;
}

/// The positions that were applied, in memory.
struct Seen(Arc<AtomicUsize>);

impl Projection<MemoryTransaction<Vec<u64>>> for Seen {
    type Feed = RecordedEvent;
    type Error = String;
    const NAME: &'static str = "seen";

    async fn apply(
        &self,
        event: RecordedEvent,
        _: &RecordedEvent,
        seen: &mut MemoryTransaction<Vec<u64>>,
    ) -> Result<(), String> {
        if self.0.load(Ordering::Relaxed) > 0 && event.position.get() % 100 == 50 {
            self.0.fetch_sub(1, Ordering::Relaxed);
            return Err("not now".to_owned());
        }
        seen.push(event.position.get());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_model_in_memory_sees_each_event_in_order_and_is_rebuilt() {
    let store = Arc::new(MemoryEventStore::new());
    for number in 0..30 {
        add(&store, number, 100).await;
    }
    let model = MemoryReadModel::<Vec<u64>>::new();
    let failures = Arc::new(AtomicUsize::new(40));
    let runner =
        ProjectionRunner::with_database(store.clone(), model.clone(), Seen(failures.clone()))
            .on_error(ErrorPolicy::retry().backoff(Duration::ZERO, Duration::ZERO));
    let running = runner.clone().start();
    running.wait_for(Position::new(3000), SOON).await.unwrap();
    let position = add(&store, 1, 5).await;
    wait_for(&model, "seen", position, SOON).await.unwrap();
    assert!(model.read().await.iter().copied().eq(1..=3005));
    assert_eq!(
        failures.load(Ordering::Relaxed),
        0,
        "nothing failed on the way"
    );
    let outcome = runner.start_rebuild().join().await.unwrap();
    assert_eq!(outcome, RebuildOutcome::Swapped);
    let position = add(&store, 1, 5).await;
    running.wait_for(position, SOON).await.unwrap();
    wait_for(&model, "seen", position, SOON).await.unwrap();
    assert!(model.read().await.iter().copied().eq(1..=3010));
    running.stop().await.unwrap();
}
