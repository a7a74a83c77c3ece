//! Projections whose own code fails: panics, a failed `prepare`, and what those who wait or look at the status are told.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventcore::{
    Command, CommandError, CommandLogic, EventFeed, EventFilter, EventStore, ExecuteOptions,
    IdempotencyKey, IdempotencyKeyError, Position, RecordedEvent, execute,
    memory::MemoryEventStore,
    projection::{
        Automation, ErrorPolicy, FeedError, Leadership, LeaseError, MemoryReadModel,
        MemoryTransaction, Projection, ProjectionDatabase, ProjectionError, ProjectionRunner,
        ProjectionState, Reaction, ReadModel, WaitError, dead_letters, status, subscribe,
    },
    sqlite::rusqlite,
};
use futures_util::StreamExt as _;

use crate::projection::{
    Db, Postgres, Slow, Sqlite, Sums, TallyEvent, TallyId, Write, add, expected,
};

const SOON: Duration = Duration::from_mins(2);

macro_rules! on_each_database {
    ($($test:ident)*) => {
        mod sqlite {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test::<super::Sqlite>().await;
            }
        )*}

        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test::<super::Postgres>().await;
            }
        )*}
    };
}

on_each_database! {
    a_panic_in_apply_is_a_failure_of_its_event
    a_panic_in_apply_is_parked_like_an_error
    a_panic_in_prepare_is_a_failure_of_prepare
    a_panic_in_the_filter_ends_the_projection_and_its_status_says_so
    waiting_for_a_projection_that_failed_ends_at_once
    the_lease_is_renewed_while_apply_and_prepare_run
    work_that_takes_longer_than_the_lease_is_committed_beside_a_standby
    a_lease_without_a_sign_of_life_is_taken_over_whatever_the_clock_says
    two_projections_of_one_name_are_told_apart
    one_event_is_parked_by_its_position
    no_key_of_a_client_suppresses_a_command_of_an_automation
}

fn panicking(positions: &[u64]) -> Sums {
    Sums {
        refused: Arc::new(Mutex::new(positions.iter().copied().collect())),
        panics: true,
        ..Sums::default()
    }
}

async fn a_panic_in_apply_is_a_failure_of_its_event<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 7, 100).await;
    let mut running = ProjectionRunner::new(db.store().clone(), panicking(&[57]))
        .on_error(ErrorPolicy::stop())
        .start();
    let error = running.join().await.unwrap_err();
    let ProjectionError::Event {
        position,
        stream,
        type_name,
        source,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(position.get(), 57);
    assert_eq!((stream.as_str(), &**type_name), ("tally-7", "TallyAdded"));
    assert!(
        source.to_string().contains("panic at position 57"),
        "{source}"
    );
    let local = running.status().await.unwrap();
    assert_eq!(local.state, ProjectionState::Failed);
    let stored = status(db.store(), db.store(), "sums").await.unwrap();
    for seen in [local, stored] {
        assert_eq!((seen.position.get(), &seen.leader), (56, &None));
        let last = seen.last_error.unwrap();
        assert_eq!(last.position, Some(Position::new(57)));
        assert!(last.message.contains("panic at position 57"), "{last:?}");
    }
    let applied: i64 = db.sums().await.values().map(|(_, events)| events).sum();
    assert_eq!(
        applied, 56,
        "what the event wrote before it panicked stayed"
    );
}

async fn a_panic_in_apply_is_parked_like_an_error<D: Db>() {
    let db = D::fresh().await;
    for round in 0..10 {
        add(db.store(), round, 50).await;
    }
    let aside = HashSet::from([1, 57, 58, 300, 500]);
    let sums = panicking(&aside.iter().copied().collect::<Vec<_>>());
    let ms = Duration::from_millis;
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::park().attempts(2).backoff(ms(1), ms(1)))
        .start();
    running.wait_for(Position::new(500), SOON).await.unwrap();
    assert_eq!(db.sums().await, expected(db.store(), &aside).await);
    let letters = dead_letters(db.store(), "sums", Position::START)
        .await
        .unwrap();
    let parked: HashSet<u64> = letters.iter().map(|one| one.position.get()).collect();
    assert_eq!(parked, aside);
    for letter in letters {
        assert!(letter.error.contains("panic at position"), "{letter:?}");
        assert_eq!(letter.attempts, 2);
    }
    running.stop().await.unwrap();
}

struct Unprepared;

impl<Tx: Send> Projection<Tx> for Unprepared {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "unprepared";

    async fn prepare(&self, _: &mut Tx) -> Result<(), Infallible> {
        panic!("nothing is ready")
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

async fn a_panic_in_prepare_is_a_failure_of_prepare<D: Db>() {
    let db = D::fresh().await;
    let mut running = ProjectionRunner::new(db.store().clone(), Unprepared).start();
    let error = running.join().await.unwrap_err();
    let ProjectionError::Prepare { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(source.to_string().contains("nothing is ready"), "{source}");
    let seen = running.status().await.unwrap();
    assert_eq!((seen.state, seen.leader), (ProjectionState::Failed, None));
    assert!(
        seen.last_error
            .unwrap()
            .message
            .contains("nothing is ready")
    );
}

struct Unfiltered;

impl EventFeed for Unfiltered {
    fn filter() -> EventFilter {
        panic!("no filter")
    }

    fn decode(_: &RecordedEvent) -> Result<Self, FeedError> {
        Ok(Self)
    }
}

impl<Tx: Send> Projection<Tx> for Unfiltered {
    type Feed = Self;
    type Error = Infallible;
    const NAME: &'static str = "unfiltered";

    async fn apply(&self, _: Self, _: &RecordedEvent, _: &mut Tx) -> Result<(), Infallible> {
        Ok(())
    }
}

async fn a_panic_in_the_filter_ends_the_projection_and_its_status_says_so<D: Db>() {
    let db = D::fresh().await;
    let mut running = ProjectionRunner::new(db.store().clone(), Unfiltered).start();
    let error = running.join().await.unwrap_err();
    assert!(
        matches!(error, ProjectionError::Panicked { .. }),
        "{error:?}"
    );
    let seen = running.status().await.unwrap();
    assert_eq!(
        (seen.state, seen.leader),
        (ProjectionState::Failed, None),
        "the lease is not given up"
    );
    assert!(seen.last_error.unwrap().message.contains("no filter"));
    let mut rebuild = ProjectionRunner::new(db.store().clone(), Unfiltered).start_rebuild();
    add(db.store(), 1, 1).await;
    let error = rebuild.join().await.unwrap_err();
    assert!(error.to_string().contains("no filter"), "{error}");
}

async fn waiting_for_a_projection_that_failed_ends_at_once<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 100).await;
    let sums = Sums {
        panics: false,
        ..panicking(&[57])
    };
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::stop())
        .start();
    let forever = Duration::from_hours(24);
    let waited = running.wait_for(Position::new(57), forever);
    let waited = tokio::time::timeout(SOON, waited).await;
    let waited = waited.expect("the wait goes on");
    let error = waited.unwrap_err();
    let WaitError::Failed {
        reached,
        error: last,
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        (reached.get(), last.position),
        (56, Some(Position::new(57)))
    );
    assert!(
        error.to_string().contains("position 57 is refused"),
        "{error}"
    );
    // Also one who comes later, and one who asks for what is there.
    running
        .wait_for(Position::new(57), forever)
        .await
        .unwrap_err();
    running.wait_for(Position::new(56), forever).await.unwrap();
    // From elsewhere, nobody knows whether it will be started again; a timeout says what is known.
    let wait = eventcore::projection::wait_for(
        db.store(),
        "sums",
        Position::new(57),
        Duration::from_millis(1),
    );
    let error = wait.await.unwrap_err();
    let WaitError::Timeout {
        leader: None,
        last_error: Some(last),
        ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!(last.position, Some(Position::new(57)));
    let said = error.to_string();
    assert!(
        said.contains("no process leads it") && said.contains("position 57 is refused"),
        "{said}"
    );
}

/// Does not go on before its lease was renewed some times.
struct Patient<S>(S);

impl<S: ProjectionDatabase> Patient<S> {
    async fn wait_for_renewals(&self) {
        let model = self.0.live("patient");
        let mut seen = HashSet::new();
        while seen.len() < 4 {
            seen.extend(
                model
                    .record()
                    .await
                    .unwrap()
                    .map(|record| record.lease_state),
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl<S: ProjectionDatabase, Tx: Send> Projection<Tx> for Patient<S> {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "patient";

    async fn prepare(&self, _: &mut Tx) -> Result<(), Infallible> {
        self.wait_for_renewals().await;
        Ok(())
    }

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), Infallible> {
        self.wait_for_renewals().await;
        Ok(())
    }
}

async fn the_lease_is_renewed_while_apply_and_prepare_run<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 3).await;
    let running = ProjectionRunner::new(db.store().clone(), Patient(db.store().clone()))
        .lease(Duration::from_millis(100))
        .start();
    running.wait_for(Position::new(3), SOON).await.unwrap();
    running.stop().await.unwrap();
}

async fn work_that_takes_longer_than_the_lease_is_committed_beside_a_standby<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 4).await;
    let term = Duration::from_millis(200);
    let slow = Sums {
        delay: 3 * term,
        ..Sums::default()
    };
    let start = || {
        let runner = ProjectionRunner::new(db.store().clone(), Slow(slow.clone()));
        runner.lease(term).start()
    };
    let (one, other) = (start(), start());
    one.wait_for(Position::new(4), SOON).await.unwrap();
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

async fn a_lease_without_a_sign_of_life_is_taken_over_whatever_the_clock_says<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 5).await;
    // As after a clock that was a year ahead when the lease was written: it runs out in a year.
    let model = db.store().live("sums");
    let year = Duration::from_hours(24 * 365);
    let taken = model.lead("gone", year).await.unwrap();
    let Leadership::Taken(gone) = taken else {
        panic!("{taken:?}")
    };
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    running.wait_for(Position::new(5), SOON).await.unwrap();
    let renewed = model.renew(&gone, year).await;
    assert!(matches!(renewed, Err(LeaseError::Lost)), "{renewed:?}");
    running.stop().await.unwrap();
}

/// Another projection with the name of [`Sums`].
struct AlsoSums;

impl<Tx: Send> Projection<Tx> for AlsoSums {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "sums";

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

async fn two_projections_of_one_name_are_told_apart<D: Db>() {
    let db = D::fresh().await;
    let position = add(db.store(), 1, 5).await;
    let first = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    first.wait_for(position, SOON).await.unwrap();
    let second = ProjectionRunner::new(db.store().clone(), AlsoSums);
    let ended = second.run_until(std::future::pending());
    let ended = tokio::time::timeout(SOON, ended).await;
    let error = ended.expect("the second stands by").unwrap_err();
    assert!(
        matches!(error, ProjectionError::NameTaken { .. }),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(
        said.contains("`sums`") && said.contains("::Sums`") && said.contains("::AlsoSums`"),
        "{said}"
    );
    // Of one type, the second stands by; and another database is another matter.
    let standby = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    let elsewhere = D::fresh().await;
    let position = add(elsewhere.store(), 1, 5).await;
    let other = ProjectionRunner::new(elsewhere.store().clone(), AlsoSums).start();
    other.wait_for(position, SOON).await.unwrap();
    let position = add(db.store(), 1, 5).await;
    first.wait_for(position, SOON).await.unwrap();
    for one in [first, standby, other] {
        one.stop().await.unwrap();
    }
}

async fn one_event_is_parked_by_its_position<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 50).await;
    let sums = Sums {
        panics: false,
        ..panicking(&[7, 20])
    };
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::stop().park_at(Position::new(7)))
        .start();
    let waited = running.wait_for(Position::new(50), SOON).await;
    let error = waited.unwrap_err();
    assert!(
        matches!(&error, WaitError::Failed { error: last, .. } if last.position == Some(Position::new(20))),
        "{error:?}"
    );
    let letters = dead_letters(db.store(), "sums", Position::START)
        .await
        .unwrap();
    let parked: Vec<_> = letters.iter().map(|one| one.position.get()).collect();
    assert_eq!(parked, [7]);
}

#[derive(Command)]
struct Mirror {
    #[stream]
    tally: TallyId,
}

impl CommandLogic for Mirror {
    type State = ();
    type Error = Infallible;

    fn apply(&self, (): &mut (), _: MirrorEvent<'_>) {}

    fn handle(&self, (): &(), streams: MirrorStreams<'_>) -> Result<(), Infallible> {
        streams.tally.append(TallyEvent::Added { amount: 1 });
        Ok(())
    }
}

/// Adds to tally 100 for each event of tally 1.
struct Mirroring;

impl<S: EventStore> Automation<S> for Mirroring {
    type Feed = (TallyId, TallyEvent);
    type Error = CommandError<Infallible>;
    const NAME: &'static str = "mirroring";

    async fn react(
        &self,
        (TallyId(tally), _): Self::Feed,
        reaction: &mut Reaction<'_, S>,
    ) -> Result<(), Self::Error> {
        if tally == 1 {
            let tally = TallyId(100);
            reaction.execute(Mirror { tally }).await?;
        }
        Ok(())
    }
}

async fn no_key_of_a_client_suppresses_a_command_of_an_automation<D: Db>() {
    let db = D::fresh().await;
    // The keys that the automation would use for the event at position 3, as far as a client can write them.
    let reserved = IdempotencyKey::new("eventcore:automation/mirroring/3/1");
    assert_eq!(reserved, Err(IdempotencyKeyError::Reserved));
    for key in [
        "automation/mirroring/3/1",
        "Eventcore:automation/mirroring/3/1",
    ] {
        let key = IdempotencyKey::new(key).unwrap();
        let tally = TallyId(7);
        let options = ExecuteOptions::new().idempotency_key(key);
        execute(db.store(), Mirror { tally }, options)
            .await
            .unwrap();
    }
    assert_eq!(add(db.store(), 1, 1).await.get(), 3);
    let running = ProjectionRunner::automation(db.store().clone(), Mirroring).start();
    running.wait_for(Position::new(3), SOON).await.unwrap();
    let mirrored = expected(db.store(), &HashSet::new()).await;
    assert_eq!(mirrored.get("100"), Some(&(1, 1)), "{mirrored:?}");
    running.stop().await.unwrap();
}

/// After somebody has damaged the payload of the event at position 4: whoever reads the feed gets everything, and only
/// decoding that event fails; a projection parks it by its position; other streams are as before.
async fn assert_one_bad_payload_is_passed_knowingly<D: Db>(db: &D) {
    let bad = Position::new(4);
    let mut events = subscribe(db.store(), Position::START, EventFilter::All);
    for position in 1..=15 {
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.position.get(), position);
        let decoded = <(TallyId, TallyEvent)>::decode(&event);
        assert_eq!(decoded.is_err(), event.position == bad, "{event:?}");
        if let Err(error) = decoded {
            let said = error.to_string();
            assert!(
                said.contains("position 4") && said.contains("tally-1"),
                "{said}"
            );
        }
    }
    let runner = ProjectionRunner::new(db.store().clone(), Sums::default());
    let stopping = runner.clone().on_error(ErrorPolicy::stop()).start();
    let waited = stopping.wait_for(Position::new(15), SOON).await;
    let Err(WaitError::Failed { reached, error, .. }) = waited else {
        panic!("{waited:?}")
    };
    assert_eq!((reached.get(), error.position), (3, Some(bad)));
    let parking = runner.on_error(ErrorPolicy::stop().park_at(bad)).start();
    parking.wait_for(Position::new(15), SOON).await.unwrap();
    let position = add(db.store(), 2, 1).await;
    parking.wait_for(position, SOON).await.unwrap();
    let aside = HashSet::from([bad.get()]);
    assert_eq!(db.sums().await, expected(db.store(), &aside).await);
    assert_eq!(parking.status().await.unwrap().parked, 1);
    parking.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_a_payload_that_is_no_utf8_is_passed_knowingly() {
    let db = Sqlite::fresh().await;
    add(db.store(), 1, 10).await;
    add(db.store(), 2, 5).await;
    let file = rusqlite::Connection::open(db.location()).unwrap();
    file.busy_timeout(SOON).unwrap();
    let triggers: Vec<String> = {
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'trigger'";
        let mut triggers = file.prepare(sql).unwrap();
        let names = triggers.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    for trigger in triggers {
        file.execute_batch(&format!("DROP TRIGGER {trigger}"))
            .unwrap();
    }
    let damage = "UPDATE events SET payload = CAST(x'7b22ff' AS TEXT) WHERE position = 4";
    assert_eq!(file.execute(damage, []).unwrap(), 1);
    drop(file);
    assert_one_bad_payload_is_passed_knowingly(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres_a_payload_that_does_not_fit_is_passed_knowingly() {
    let db = Postgres::fresh().await;
    add(db.store(), 1, 10).await;
    add(db.store(), 2, 5).await;
    let events = format!("{}.events", db.location());
    db.run(&format!(
        "UPDATE {events} SET payload = '[7]' WHERE position = 4"
    ))
    .await;
    assert_one_bad_payload_is_passed_knowingly(&db).await;
}

/// Signals that it was called, and waits for ever.
struct Stuck(std::sync::mpsc::SyncSender<()>);

impl<Tx: Write> Projection<Tx> for Stuck {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "stuck";

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), Infallible> {
        let _ = self.0.send(());
        std::future::pending().await
    }
}

fn a_runtime_with_an_apply_that_waits_for_ever_can_be_dropped<D: Db>() {
    let (stuck, is_stuck) = std::sync::mpsc::sync_channel(0);
    let (dropped, is_dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let running = runtime.block_on(async {
            let db = D::fresh().await;
            add(db.store(), 1, 1).await;
            ProjectionRunner::new(db.store().clone(), Stuck(stuck)).start()
        });
        is_stuck.recv().unwrap();
        drop(runtime);
        drop(running);
        dropped.send(()).unwrap();
    });
    is_dropped
        .recv_timeout(SOON)
        .expect("the runtime does not end");
}

#[test]
fn on_sqlite_a_runtime_with_an_apply_that_waits_for_ever_can_be_dropped() {
    a_runtime_with_an_apply_that_waits_for_ever_can_be_dropped::<Sqlite>();
}

#[test]
fn on_postgres_a_runtime_with_an_apply_that_waits_for_ever_can_be_dropped() {
    a_runtime_with_an_apply_that_waits_for_ever_can_be_dropped::<Postgres>();
}

/// Counts events, and panics on the way at some of them.
#[derive(Clone, Default)]
struct Count(Arc<Mutex<HashSet<u64>>>);

impl Projection<MemoryTransaction<Vec<u64>>> for Count {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "count";

    async fn apply(
        &self,
        event: RecordedEvent,
        _: &RecordedEvent,
        seen: &mut MemoryTransaction<Vec<u64>>,
    ) -> Result<(), Infallible> {
        let position = event.position.get();
        let is_bad = self.0.lock().unwrap().contains(&position);
        assert!(!is_bad, "panic at position {position}");
        seen.push(position);
        Ok(())
    }
}

#[tokio::test]
async fn a_panic_in_memory_is_parked_and_the_model_is_still_read() {
    let (store, model) = (Arc::new(MemoryEventStore::new()), MemoryReadModel::new());
    add(&store, 1, 9).await;
    let count = Count::default();
    count.0.lock().unwrap().extend([1, 4, 5, 9]);
    let running = ProjectionRunner::with_database(store, model.clone(), count)
        .on_error(ErrorPolicy::park())
        .start();
    running.wait_for(Position::new(9), SOON).await.unwrap();
    assert_eq!(*model.read().await, [2, 3, 6, 7, 8]);
    assert_eq!(running.status().await.unwrap().parked, 4);
    running.stop().await.unwrap();
}
