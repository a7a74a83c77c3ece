//! Two projections with one name in different processes: detected by their feeds, which are stored with the checkpoint.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt::Debug,
    future::Future,
    marker::PhantomData,
    process::{Command as Process, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::projection::{Db, Postgres, Sqlite, Sums, TallyEvent, TallyId, add, expected};
use crate::warnings::Warnings;
use eventcore::{
    EventFeed, EventFilter, EventSelector, EventStore, Position, RecordedEvent,
    memory::MemoryEventStore,
    projection::{
        Leadership, Lease, LeaseError, MemoryReadModel, Progress, Projection, ProjectionDatabase,
        ProjectionError, ProjectionHandle, ProjectionIdentity, ProjectionRecord, ProjectionRunner,
        ProjectionState, ReadModel, RebuildOutcome,
    },
};

const SOON: Duration = Duration::from_mins(2);
const TERM: Duration = Duration::from_mins(10);
const CHILD: &str = "EVENTCORE_TEST_NAMED";

macro_rules! on {
    ($($database:ident($what:ty): $($test:ident)*;)*) => {$(
        mod $database {$(
            // The subscriber of a test is that of its thread, on which all tasks run.
            #[tokio::test]
            async fn $test() {
                super::$test::<$what>().await;
            }
        )*}
    )*};
}

on! {
    memory(super::Memory):
        a_read_model_of_another_feed_is_refused
        a_projection_does_not_stand_by_for_one_with_another_feed
        before_the_first_event_any_feed_is_accepted
        a_rebuild_replaces_the_feed
        a_former_feed_is_accepted_if_it_is_named
        another_type_with_the_same_feed_is_a_warning;
    sqlite(super::Sqlite):
        a_read_model_of_another_feed_is_refused
        a_projection_does_not_stand_by_for_one_with_another_feed
        before_the_first_event_any_feed_is_accepted
        a_rebuild_replaces_the_feed
        a_former_feed_is_accepted_if_it_is_named
        another_type_with_the_same_feed_is_a_warning
        an_interrupted_rebuild_is_resumed_with_its_own_feed_only
        a_projection_in_another_process_is_left_alone;
    postgres(super::Postgres):
        a_read_model_of_another_feed_is_refused
        a_projection_does_not_stand_by_for_one_with_another_feed
        before_the_first_event_any_feed_is_accepted
        a_rebuild_replaces_the_feed
        a_former_feed_is_accepted_if_it_is_named
        another_type_with_the_same_feed_is_a_warning
        an_interrupted_rebuild_is_resumed_with_its_own_feed_only
        a_projection_in_another_process_is_left_alone;
}

/// A store and a database for read models.
trait World {
    type Store: EventStore + Clone + 'static;
    type Database: ProjectionDatabase;

    fn begin() -> impl Future<Output = (Self::Store, Self::Database)>;
}

struct Memory;

impl World for Memory {
    type Store = Arc<MemoryEventStore>;
    type Database = MemoryReadModel<()>;

    async fn begin() -> (Self::Store, Self::Database) {
        (Arc::default(), MemoryReadModel::new())
    }
}

impl<D: Db> World for D {
    type Store = D::Store;
    type Database = D::Store;

    async fn begin() -> (D::Store, D::Store) {
        let db = D::fresh().await;
        (db.store().clone(), db.store().clone())
    }
}

/// A projection with the name of [`Sums`] and a feed of its own, for any database. It keeps the positions that it applied.
struct Other<F> {
    applied: Arc<Mutex<BTreeSet<u64>>>,
    feed: PhantomData<fn() -> F>,
}

type Tallies = Other<(TallyId, TallyEvent)>;
type Everything = Other<RecordedEvent>;

const TALLIES: &str = r#"category "tally""#;

impl<F> Other<F> {
    fn new() -> Self {
        Self {
            applied: Arc::default(),
            feed: PhantomData,
        }
    }
}

impl<Tx: Send, F: EventFeed + Send + 'static> Projection<Tx> for Other<F> {
    type Feed = F;
    type Error = Infallible;
    const NAME: &'static str = "sums";

    async fn apply(&self, _: F, recorded: &RecordedEvent, _: &mut Tx) -> Result<(), Infallible> {
        let position = recorded.position.get();
        self.applied.lock().unwrap().insert(position);
        Ok(())
    }
}

/// Has the name and the feed of [`Tallies`].
struct Renamed;

impl<Tx: Send> Projection<Tx> for Renamed {
    type Feed = (TallyId, TallyEvent);
    type Error = Infallible;
    const NAME: &'static str = "sums";

    async fn apply(&self, _: Self::Feed, _: &RecordedEvent, _: &mut Tx) -> Result<(), Infallible> {
        Ok(())
    }
}

type RunnerOf<W, P> = ProjectionRunner<<W as World>::Store, <W as World>::Database, P>;
type HandleOf<W> = ProjectionHandle<<W as World>::Store, <W as World>::Database>;
type TransactionOf<W> = <<W as World>::Database as ProjectionDatabase>::Transaction;

fn runner<W: World, P: Projection<TransactionOf<W>>>(
    (store, database): &(W::Store, W::Database),
    projection: P,
) -> RunnerOf<W, P> {
    ProjectionRunner::with_database(store.clone(), database.clone(), projection)
}

/// Runs the projection up to a position.
async fn run_to<W: World, P: Projection<TransactionOf<W>>>(
    runner: RunnerOf<W, P>,
    position: Position,
) {
    let running = runner.start();
    running.wait_for(position, SOON).await.unwrap();
    running.stop().await.unwrap();
}

/// Runs the projection until it ends by itself with the error about its feed.
async fn refused<W: World, P: Projection<TransactionOf<W>>>(
    runner: RunnerOf<W, P>,
    own: (&str, &str),
    recorded: (&str, &str),
) {
    let ended = runner.run_until(std::future::pending());
    let ended = tokio::time::timeout(SOON, ended).await;
    assert_feed_changed(ended.expect("it stands by or runs"), own, recorded);
}

/// Types and feeds are those of the error, and the message names all that is needed to act.
fn assert_feed_changed<T: Debug>(
    ended: Result<T, ProjectionError>,
    own: (&str, &str),
    recorded: (&str, &str),
) {
    let error = ended.unwrap_err();
    let said = error.to_string();
    let ProjectionError::FeedChanged {
        projection,
        own_type,
        own_feed,
        recorded_type,
        recorded_feed,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(projection, "sums");
    assert_eq!((&*own_type, &*own_feed), own);
    assert_eq!((&*recorded_type, &*recorded_feed), recorded);
    for part in [
        "projection `sums`",
        &own_type,
        &own_feed,
        &recorded_type,
        &recorded_feed,
        "another `NAME`",
        "`start_rebuild`",
        "`ProjectionRunner::former_feed`",
    ] {
        assert!(said.contains(part), "no {part} in: {said}");
    }
}

const OWN: (&str, &str) = ("Other<RecordedEvent>", "all events");
const FIRST: (&str, &str) = ("Other<(TallyId, TallyEvent)>", TALLIES);

async fn record<W: World>(world: &(W::Store, W::Database)) -> ProjectionRecord {
    let record = world.1.live("sums").record().await.unwrap();
    record.expect("it was led before")
}

/// Waits for a condition of the record.
async fn until<W: World>(
    world: &(W::Store, W::Database),
    condition: impl Fn(&ProjectionRecord) -> bool,
) {
    let started = Instant::now();
    while !(world.1.live("sums").record().await.unwrap()).is_some_and(|record| condition(&record)) {
        assert!(started.elapsed() < SOON, "{:?}", record::<W>(world).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_read_model_of_another_feed_is_refused<W: World>() {
    let world = W::begin().await;
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Tallies::new()), position).await;
    let before = record::<W>(&world).await;
    let other = Everything::new();
    let applied = other.applied.clone();
    refused::<W, _>(runner::<W, _>(&world, other), OWN, FIRST).await;
    assert!(applied.lock().unwrap().is_empty());
    let after = record::<W>(&world).await;
    assert_eq!(after.position, before.position);
    assert_eq!(after.identity, before.identity);
    assert_eq!(after.leader, None, "it gives the lease back");
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Tallies::new()), position).await;
}

async fn a_projection_does_not_stand_by_for_one_with_another_feed<W: World>() {
    let world = W::begin().await;
    add(&world.0, 1, 5).await;
    let model = world.1.live("sums");
    let lease = leads(&model).await;
    refused::<W, _>(runner::<W, _>(&world, Everything::new()), OWN, FIRST).await;
    // One with the same feed stands by, and takes over.
    let standby = runner::<W, _>(&world, Tallies::new()).start();
    until_standby::<W>(&standby).await;
    model.resign(&lease).await.unwrap();
    standby.wait_for(Position::new(5), SOON).await.unwrap();
    let late = model.identify(&lease, &identity("late")).await;
    assert!(matches!(late, Err(LeaseError::Lost)), "{late:?}");
    standby.stop().await.unwrap();
    assert_eq!(record::<W>(&world).await.identity, Some(identity(TALLIES)));
}

fn identity(feed: &str) -> ProjectionIdentity {
    ProjectionIdentity {
        feed: feed.to_owned(),
        type_name: FIRST.0.to_owned(),
    }
}

/// Acquires the lease as [`Tallies`] would in another process.
async fn leads<M: ReadModel>(model: &M) -> Lease {
    let Leadership::Taken(lease) = model.lead("elsewhere", TERM).await.unwrap() else {
        panic!("nobody else leads")
    };
    model.identify(&lease, &identity(TALLIES)).await.unwrap();
    lease
}

async fn until_standby<W: World>(running: &HandleOf<W>) {
    let started = Instant::now();
    loop {
        let state = running.status().await.unwrap().state;
        if matches!(state, ProjectionState::Standby { .. }) {
            return;
        }
        assert!(started.elapsed() < SOON, "{state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn before_the_first_event_any_feed_is_accepted<W: World>() {
    let world = W::begin().await;
    let tallies = runner::<W, _>(&world, Tallies::new()).start();
    until::<W>(&world, |record| record.identity.is_some()).await;
    tallies.stop().await.unwrap();
    assert_eq!(record::<W>(&world).await.position, Position::START);
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Everything::new()), position).await;
    refused::<W, _>(runner::<W, _>(&world, Tallies::new()), FIRST, OWN).await;
}

async fn a_rebuild_replaces_the_feed<W: World>() {
    let world = W::begin().await;
    let position = add(&world.0, 1, 5).await;
    let mut former = runner::<W, _>(&world, Tallies::new()).start();
    former.wait_for(position, SOON).await.unwrap();
    let mut rebuild = runner::<W, _>(&world, Everything::new()).start_rebuild();
    assert_eq!(rebuild.join().await.unwrap(), RebuildOutcome::Swapped);
    // The former version loses the lease by the swap, and must not go on with the new read model.
    let ended = tokio::time::timeout(SOON, former.join()).await;
    assert_feed_changed(ended.expect("it goes on"), FIRST, OWN);
    let everything = Everything::new();
    let applied = everything.applied.clone();
    let position = add(&world.0, 1, 2).await;
    run_to::<W, _>(runner::<W, _>(&world, everything), position).await;
    assert_eq!(*applied.lock().unwrap(), BTreeSet::from([6, 7]));
}

async fn a_former_feed_is_accepted_if_it_is_named<W: World>() {
    let world = W::begin().await;
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Tallies::new()), position).await;
    let everything = Everything::new();
    let applied = everything.applied.clone();
    let other = EventFilter::any_of([EventSelector::category("account")]);
    let tallies = EventFilter::any_of([EventSelector::category("tally")]);
    let wrong = runner::<W, _>(&world, Everything::new()).former_feed(&other);
    refused::<W, _>(wrong, OWN, FIRST).await;
    let continued = runner::<W, _>(&world, everything).former_feed(&tallies);
    let position = add(&world.0, 1, 2).await;
    run_to::<W, _>(continued.former_feed(&other), position).await;
    assert_eq!(*applied.lock().unwrap(), BTreeSet::from([6, 7]));
    // From now on, this is the feed.
    refused::<W, _>(runner::<W, _>(&world, Tallies::new()), FIRST, OWN).await;
    let position = add(&world.0, 1, 1).await;
    run_to::<W, _>(runner::<W, _>(&world, Everything::new()), position).await;
}

async fn an_interrupted_rebuild_is_resumed_with_its_own_feed_only<D: Db>() {
    let world = D::begin().await;
    let position = add(&world.0, 1, 5).await;
    run_to::<D, _>(runner::<D, _>(&world, Everything::new()), position).await;
    let rebuild = world.1.rebuild("sums", true).await.unwrap();
    let lease = leads(&rebuild).await;
    let transaction = rebuild.begin(&lease).await.unwrap();
    let progress = Progress {
        position: Position::new(3),
        term: TERM,
        park: None,
        replayed: None,
    };
    rebuild.commit(transaction, &lease, progress).await.unwrap();
    rebuild.resign(&lease).await.unwrap();
    let tallies = EventFilter::any_of([EventSelector::category("tally")]);
    let other = runner::<D, _>(&world, Everything::new()).former_feed(&tallies);
    assert_feed_changed(other.resume_rebuild().join().await, OWN, FIRST);
    let everything = record::<D>(&world).await.identity.unwrap();
    assert_eq!((&*everything.type_name, &*everything.feed), OWN);
    let resumed = Tallies::new();
    let applied = resumed.applied.clone();
    let mut resumed = runner::<D, _>(&world, resumed).resume_rebuild();
    assert_eq!(resumed.join().await.unwrap(), RebuildOutcome::Swapped);
    assert_eq!(*applied.lock().unwrap(), BTreeSet::from([4, 5]));
    assert_eq!(record::<D>(&world).await.identity, Some(identity(TALLIES)));
    // A rebuild from the start may have any feed, also where another one was interrupted.
    for _ in 0..2 {
        let rebuild = world.1.rebuild("sums", true).await.unwrap();
        assert_eq!(rebuild.record().await.unwrap().unwrap().identity, None);
        let lease = leads(&rebuild).await;
        rebuild.resign(&lease).await.unwrap();
    }
    let mut other = runner::<D, _>(&world, Everything::new()).start_rebuild();
    assert_eq!(other.join().await.unwrap(), RebuildOutcome::Swapped);
    assert_eq!(record::<D>(&world).await.identity, Some(everything));
}

async fn another_type_with_the_same_feed_is_a_warning<W: World>() {
    let world = W::begin().await;
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Tallies::new()), position).await;
    let (warnings, _guards) = Warnings::listen();
    let position = add(&world.0, 1, 5).await;
    run_to::<W, _>(runner::<W, _>(&world, Tallies::new()), position).await;
    assert!(warnings.0.lock().unwrap().is_empty(), "the control");
    // A standby sees it too, and says it once.
    let model = world.1.live("sums");
    let lease = leads(&model).await;
    let standby = runner::<W, _>(&world, Renamed).start();
    until_standby::<W>(&standby).await;
    model.resign(&lease).await.unwrap();
    let position = add(&world.0, 1, 5).await;
    standby.wait_for(position, SOON).await.unwrap();
    standby.stop().await.unwrap();
    let type_name = record::<W>(&world).await.identity.unwrap().type_name;
    assert_eq!(type_name, "Renamed");
    let warnings = warnings.0.lock().unwrap();
    let [warning] = &warnings[..] else {
        panic!("{warnings:?}")
    };
    for part in ["sums", FIRST.0, "Renamed", "another `NAME`"] {
        assert!(warning.contains(part), "no {part} in {warning}");
    }
}

/// The work of a child process; does nothing in the test run itself.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (database, location) = task.split_once(' ').unwrap();
    match database {
        "Sqlite" => project(&Sqlite::open(location).await).await,
        _ => project(&Postgres::open(location).await).await,
    }
}

/// Projects until the parent closes the pipe.
async fn project(db: &impl Db) {
    let closed = tokio::task::spawn_blocking(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    });
    let runner = ProjectionRunner::new(db.store().clone(), Sums::default());
    runner
        .run_until(async { closed.await.unwrap() })
        .await
        .unwrap();
}

async fn a_projection_in_another_process_is_left_alone<D: Db>() {
    let db = D::fresh().await;
    let world = (db.store().clone(), db.store().clone());
    add(db.store(), 1, 5).await;
    let database = std::any::type_name::<D>().rsplit("::").next().unwrap();
    let mut child = Process::new(std::env::current_exe().unwrap())
        .args(["names::child", "--exact", "--nocapture"])
        .env(CHILD, format!("{database} {}", db.location()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until::<D>(&world, |record| record.position.get() == 5).await;
    let recorded = ("Sums", TALLIES);
    refused::<D, _>(runner::<D, _>(&world, Everything::new()), OWN, recorded).await;
    let position = add(db.store(), 2, 5).await;
    until::<D>(&world, |record| record.position == position).await;
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    refused::<D, _>(runner::<D, _>(&world, Everything::new()), OWN, recorded).await;
    assert_eq!(
        db.sums().await,
        expected(db.store(), &std::collections::HashSet::new()).await
    );
}
