//! Projections: each event exactly once, whatever happens to the process, the leader, the event or the rebuild.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use eventcore::{
    EventStore, Position, RecordedEvent,
    projection::{
        ErrorPolicy, Leadership, LeaseError, Progress, Projection, ProjectionDatabase,
        ProjectionError, ProjectionRunner, ProjectionState, ReadModel, RebuildOutcome, WaitError,
        dead_letters, replay, status, wait_for,
    },
};
use tokio::sync::Semaphore;

use crate::chain::chain;
use crate::projection::{Db, Postgres, Sqlite, Sums, TallyEvent, TallyId, Write, add, expected};

const SOON: Duration = Duration::from_mins(10);

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
    a_read_model_catches_up_and_follows
    an_event_that_fails_stops_the_projection
    an_event_that_fails_is_tried_again_until_it_is_mended
    an_event_that_fails_is_parked_and_replayed
    many_events_that_fail_are_parked_and_nothing_else
    of_very_many_parked_events_each_is_listed_and_replayed
    what_the_database_refuses_is_parked_and_nothing_else
    what_the_database_refuses_to_commit_is_parked_and_nothing_else
    a_leader_of_old_cannot_write
    a_standby_takes_over_at_once_after_a_clean_stop
    a_slow_projection_holds_up_no_other
    waiting_says_how_far_it_came
    a_rebuild_takes_the_place_of_the_live_read_model
    a_rebuild_goes_on_where_it_was_interrupted
}

async fn head(store: &impl EventStore) -> Position {
    let request = eventcore::store::ReadFeedRequest {
        after: Position::new(u64::MAX),
        filter: eventcore::EventFilter::All,
        limit: 1,
    };
    store.read_feed(request).await.unwrap().scanned_to
}

/// The read model shows exactly the fold of the log, after waiting for it.
async fn assert_exact<D: Db>(db: &D) {
    let head = head(db.store()).await;
    wait_for(db.store(), "sums", head, SOON).await.unwrap();
    assert_eq!(db.sums().await, expected(db.store(), &HashSet::new()).await);
}

async fn a_read_model_catches_up_and_follows<D: Db>() {
    let db = D::fresh().await;
    for round in 0..30 {
        add(db.store(), round % 7, 100).await;
    }
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    assert_exact(&db).await;
    for round in 0..50 {
        let position = add(db.store(), round % 3, 1).await;
        running.wait_for(position, SOON).await.unwrap();
        let rows = db.sums().await;
        let applied: i64 = rows.values().map(|(_, events)| events).sum();
        assert_eq!(
            applied,
            i64::try_from(position.get()).unwrap(),
            "one's own write is not read"
        );
    }
    let seen = running.status().await.unwrap();
    assert_eq!(
        (seen.state, seen.lag, seen.parked),
        (ProjectionState::Live, 0, 0)
    );
    assert_eq!(
        (seen.position, seen.head),
        (Position::new(3050), Position::new(3050))
    );
    assert!(seen.leader.is_some() && seen.last_error.is_none() && seen.lag_time.is_zero());
    running.stop().await.unwrap();
    let after = status(db.store(), db.store(), "sums").await.unwrap();
    assert_eq!(
        (after.state, after.leader),
        (ProjectionState::Stopped, None)
    );
    add(db.store(), 1, 10).await;
    let later = status(db.store(), db.store(), "sums").await.unwrap();
    assert_eq!(later.lag, 10);
    assert!(!later.lag_time.is_zero());
    // And again from where it was.
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    assert_exact(&db).await;
    running.stop().await.unwrap();
}

/// A projection that refuses some positions.
fn refusing(positions: &[u64]) -> (Sums, Arc<Mutex<HashSet<u64>>>) {
    let refused = Arc::new(Mutex::new(positions.iter().copied().collect()));
    let sums = Sums {
        refused: refused.clone(),
        ..Sums::default()
    };
    (sums, refused)
}

async fn an_event_that_fails_stops_the_projection<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 100).await;
    let (sums, _) = refusing(&[57]);
    let mut running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::stop())
        .start();
    let error = tokio::time::timeout(SOON, running.join())
        .await
        .unwrap()
        .unwrap_err();
    let ProjectionError::Event {
        position, attempts, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((position.get(), *attempts), (57, 1));
    let message = chain(&error);
    assert!(
        message.contains("`sums`") && message.contains("tally-1") && message.contains("refused"),
        "{message}"
    );
    let seen = status(db.store(), db.store(), "sums").await.unwrap();
    assert_eq!(seen.position.get(), 56, "the events before it are applied");
    assert_eq!(seen.last_error.unwrap().position.unwrap().get(), 57);
    assert_eq!(seen.leader, None, "it holds the lease");
    let applied: i64 = db.sums().await.values().map(|(_, events)| events).sum();
    assert_eq!(applied, 56);
}

async fn an_event_that_fails_is_tried_again_until_it_is_mended<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 100).await;
    let (sums, refused) = refusing(&[57]);
    let ms = Duration::from_millis;
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::retry().backoff(ms(1), ms(20)))
        .start();
    let started = Instant::now();
    loop {
        let seen = running.status().await.unwrap();
        if matches!(seen.state, ProjectionState::Retrying { attempts } if attempts > 3) {
            assert_eq!(seen.position.get(), 56);
            assert!(seen.last_error.unwrap().message.contains("refused"));
            break;
        }
        assert!(started.elapsed() < SOON, "{seen:?}");
        tokio::time::sleep(ms(5)).await;
    }
    refused.lock().unwrap().clear();
    assert_exact(&db).await;
    running.stop().await.unwrap();
}

async fn an_event_that_fails_is_parked_and_replayed<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 100).await;
    let (sums, refused) = refusing(&[1, 57, 58, 100]);
    let ms = Duration::from_millis;
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::park().attempts(3).backoff(ms(1), ms(1)))
        .start();
    running.wait_for(Position::new(100), SOON).await.unwrap();
    let letters = dead_letters(db.store(), "sums", Position::START)
        .await
        .unwrap();
    let parked: Vec<_> = letters.iter().map(|letter| letter.position.get()).collect();
    assert_eq!(parked, [1, 57, 58, 100]);
    assert!(
        letters
            .iter()
            .all(|letter| letter.attempts == 3 && letter.error.contains("refused"))
    );
    let aside = [1, 57, 58, 100].into();
    assert_eq!(db.sums().await, expected(db.store(), &aside).await);
    assert_eq!(running.status().await.unwrap().parked, 4);

    // One that is not mended stays.
    *refused.lock().unwrap() = [58].into();
    assert_eq!(
        replay(db.store(), "sums", Some(Position::new(57)))
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        replay(db.store(), "sums", Some(Position::new(56)))
            .await
            .unwrap(),
        0
    );
    until(async || running.status().await.unwrap().parked == 3).await;
    assert_eq!(replay(db.store(), "sums", None).await.unwrap(), 3);
    until(async || {
        let letters = dead_letters(db.store(), "sums", Position::START)
            .await
            .unwrap();
        matches!(&letters[..], [one] if one.position.get() == 58 && one.attempts == 4)
    })
    .await;
    refused.lock().unwrap().clear();
    assert_eq!(replay(db.store(), "sums", None).await.unwrap(), 1);
    until(async || running.status().await.unwrap().parked == 0).await;
    assert_exact(&db).await;
    running.stop().await.unwrap();
}

async fn until(check: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !check().await {
        assert!(started.elapsed() < SOON, "it does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn many_events_that_fail_are_parked_and_nothing_else<D: Db>() {
    let db = D::fresh().await;
    for round in 0..20 {
        add(db.store(), round, 100).await;
    }
    let aside: HashSet<u64> = (1..=2000).filter(|n| n % 37 == 0 || n % 500 < 3).collect();
    let (sums, _) = refusing(&aside.iter().copied().collect::<Vec<_>>());
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::park())
        .start();
    running.wait_for(Position::new(2000), SOON).await.unwrap();
    assert_eq!(db.sums().await, expected(db.store(), &aside).await);
    let letters = dead_letters(db.store(), "sums", Position::START)
        .await
        .unwrap();
    assert_eq!(letters.len(), aside.len());
    running.stop().await.unwrap();
}

async fn of_very_many_parked_events_each_is_listed_and_replayed<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 1100).await;
    let (sums, refused) = refusing(&(6..=1100).collect::<Vec<_>>());
    let running = ProjectionRunner::new(db.store().clone(), sums)
        .on_error(ErrorPolicy::park())
        .start();
    running.wait_for(Position::new(1100), SOON).await.unwrap();
    let (mut parked, mut after) = (Vec::new(), Position::START);
    loop {
        let letters = dead_letters(db.store(), "sums", after).await.unwrap();
        let Some(last) = letters.last() else { break };
        after = last.position;
        parked.extend(letters.iter().map(|letter| letter.position.get()));
    }
    assert!(parked.iter().copied().eq(6..=1100), "{parked:?}");
    refused.lock().unwrap().clear();
    // The last, behind a thousand that stay; then all of them.
    let last = Some(Position::new(1100));
    assert_eq!(replay(db.store(), "sums", last).await.unwrap(), 1);
    until(async || running.status().await.unwrap().parked == 1094).await;
    assert_eq!(replay(db.store(), "sums", None).await.unwrap(), 1094);
    until(async || running.status().await.unwrap().parked == 0).await;
    assert_exact(&db).await;
    running.stop().await.unwrap();
}

/// The projection runs to the last event and puts aside these events, with this complaint, and no others.
async fn assert_parks<D: Db>(db: &D, last: Position, aside: &HashSet<u64>, complaint: &str) {
    let running = ProjectionRunner::new(db.store().clone(), Sums::default())
        .on_error(ErrorPolicy::park())
        .start();
    running.wait_for(last, SOON).await.unwrap();
    assert_eq!(db.sums().await, expected(db.store(), aside).await);
    let letters = dead_letters(db.store(), "sums", Position::START)
        .await
        .unwrap();
    let parked: HashSet<u64> = letters.iter().map(|one| one.position.get()).collect();
    assert_eq!(parked, *aside);
    for letter in letters {
        let error = letter.error.to_lowercase();
        assert!(error.contains(complaint), "{error}");
    }
    running.stop().await.unwrap();
}

/// Even where the answer of the database comes after the next events were applied: then the batch is applied once more, and
/// each answer waited for.
async fn what_the_database_refuses_is_parked_and_nothing_else<D: Db>() {
    let db = D::fresh().await;
    for round in 0..20 {
        add(db.store(), round, 100).await;
    }
    db.run("CREATE TABLE applied (position BIGINT PRIMARY KEY CHECK (position % 37 <> 0 AND position % 500 > 2))")
        .await;
    let aside: HashSet<u64> = (1..=2000).filter(|n| n % 37 == 0 || n % 500 < 3).collect();
    assert_parks(&db, Position::new(2000), &aside, "check constraint").await;
}

/// The database finds the fault when it commits, and does not say whose it is.
async fn what_the_database_refuses_to_commit_is_parked_and_nothing_else<D: Db>() {
    let db = D::fresh().await;
    for round in 0..20 {
        add(db.store(), round, 50).await;
    }
    let aside: HashSet<u64> = (1..=1000).filter(|n| n % 137 == 0 || n % 500 < 2).collect();
    let allowed = (1..=1000).filter(|n| !aside.contains(n));
    let allowed: Vec<_> = allowed.map(|n| format!("({n})")).collect();
    let schema = format!(
        "CREATE TABLE allowed (position BIGINT PRIMARY KEY);
         INSERT INTO allowed VALUES {};
         CREATE TABLE applied (position BIGINT PRIMARY KEY REFERENCES allowed DEFERRABLE INITIALLY DEFERRED)",
        allowed.join(", ")
    );
    db.run(&schema).await;
    assert_parks(&db, Position::new(1000), &aside, "foreign key").await;
}

async fn a_leader_of_old_cannot_write<D: Db>() {
    let db = D::fresh().await;
    let store = db.store().live("sums");
    let term = Duration::from_millis(100);
    let lead = async |who: &str| store.lead(who, term).await.unwrap();
    // Long, so that it cannot run out before the next line; each write sets the short one.
    let Leadership::Taken(old) = store.lead("old", SOON).await.unwrap() else {
        panic!("nobody led yet")
    };
    assert_eq!(
        lead("new").await,
        Leadership::Held {
            leader: "old".to_owned()
        }
    );
    let write = async |lease: &eventcore::projection::Lease, position: u64| {
        let (database, mut lease) = (store.clone(), lease.clone());
        lease.position = Position::new(position.saturating_sub(1));
        let work = async move {
            let mut tx = database.begin(&lease).await?;
            if position == 0 {
                tx.create().await.unwrap();
            } else {
                tx.add("x", 1, position).await.unwrap();
            }
            let progress = Progress {
                position: Position::new(position),
                term,
                park: None,
                replayed: None,
            };
            database.commit(tx, &lease, progress).await
        };
        store.run(work).await.unwrap()
    };
    write(&old, 0).await.unwrap();
    write(&old, 1).await.unwrap();
    tokio::time::sleep(term * 2).await;
    // The old one hangs, and nobody else was there: its lease is as good as ever.
    write(&old, 2).await.unwrap();
    tokio::time::sleep(term * 2).await;
    let Leadership::Taken(new) = lead("new").await else {
        panic!("the lease has run out")
    };
    assert_eq!((new.fence, new.position.get()), (old.fence + 1, 2));
    let refused = write(&old, 3).await;
    assert!(matches!(refused, Err(LeaseError::Lost)), "{refused:?}");
    assert!(matches!(
        store.renew(&old, term).await,
        Err(LeaseError::Lost)
    ));
    store.resign(&old).await.unwrap();
    assert_eq!(db.sums().await["x"], (2, 2), "it has written");
    write(&new, 3).await.unwrap();
    assert_eq!(db.sums().await["x"], (3, 3));
    let record = store.record().await.unwrap().unwrap();
    assert_eq!(record.position.get(), 3);
}

async fn a_standby_takes_over_at_once_after_a_clean_stop<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 10).await;
    let runner = |name: &str| {
        ProjectionRunner::new(db.store().clone(), Sums::default())
            .instance(name)
            .lease(SOON * 10)
            .start()
    };
    let mut leads = runner("0");
    leads.wait_for(Position::new(10), SOON).await.unwrap();
    for round in 1..6_u64 {
        let name = round.to_string();
        let next = runner(&name);
        until(async || {
            let state = next.status().await.unwrap().state;
            matches!(state, ProjectionState::Standby { leader } if leader == (round - 1).to_string())
        })
        .await;
        std::mem::replace(&mut leads, next).stop().await.unwrap();
        let position = add(db.store(), 1, 10).await;
        // A standby that waits for the lease to run out, or for a part of it, comes too late.
        leads.wait_for(position, SOON).await.unwrap();
    }
    assert_exact(&db).await;
    leads.stop().await.unwrap();
}

/// Applies an event only once it is let through, and then takes longer than a batch may.
#[derive(Clone)]
struct Gated {
    entered: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl<Tx: Write> Projection<Tx> for Gated {
    type Feed = (TallyId, TallyEvent);
    type Error = Infallible;
    const NAME: &'static str = "gated";

    async fn apply(&self, _: Self::Feed, _: &RecordedEvent, _: &mut Tx) -> Result<(), Infallible> {
        self.entered.fetch_add(1, Ordering::Relaxed);
        self.gate.acquire().await.unwrap().forget();
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok(())
    }
}

async fn a_slow_projection_holds_up_no_other<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 50).await;
    let gated = Gated {
        entered: Arc::default(),
        gate: Arc::new(Semaphore::new(0)),
    };
    let slow = ProjectionRunner::new(db.store().clone(), gated.clone()).start();
    until(async || gated.entered.load(Ordering::Relaxed) == 1).await;
    let fast = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    for _ in 0..20 {
        let position = add(db.store(), 1, 1).await;
        fast.wait_for(position, SOON).await.unwrap();
    }
    let behind = slow.status().await.unwrap();
    assert_eq!(behind.lag, 70, "the fast one waited for the slow one");
    // The stop is requested before the first event is let through.
    let open = async { gated.gate.add_permits(1000) };
    let (stopped, ()) = tokio::join!(slow.stop(), open);
    stopped.unwrap();
    let entered = gated.entered.load(Ordering::Relaxed);
    assert!(
        entered < 15,
        "a stop waits for more than a batch: {entered}"
    );
    fast.stop().await.unwrap();
}

async fn waiting_says_how_far_it_came<D: Db>() {
    let db = D::fresh().await;
    add(db.store(), 1, 5).await;
    let short = Duration::from_millis(30);
    let waited = wait_for(db.store(), "sums", Position::new(5), short).await;
    let error = waited.unwrap_err();
    assert!(
        matches!(
            error,
            WaitError::Timeout {
                reached: Position::START,
                ..
            }
        ),
        "{error}"
    );
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    // As from another process: by name.
    wait_for(db.store(), "sums", Position::new(5), SOON)
        .await
        .unwrap();
    let waited = running.wait_for(Position::new(6), short).await;
    assert!(
        waited
            .unwrap_err()
            .to_string()
            .contains("is at position 5, not yet at 6")
    );
    running.stop().await.unwrap();
}

async fn a_rebuild_takes_the_place_of_the_live_read_model<D: Db>() {
    let db = D::fresh().await;
    for round in 0..40 {
        add(db.store(), round % 5, 50).await;
    }
    let live = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    assert_exact(&db).await;
    // What only the old read model shows, so that the new one is known by it.
    db.run("UPDATE sums SET total = total + 1000000").await;
    let writing = {
        let db = db.clone();
        tokio::spawn(async move {
            for round in 0..100 {
                add(db.store(), round % 5, 3).await;
            }
        })
    };
    let reading = {
        let db = db.clone();
        tokio::spawn(async move {
            let mut shown = 0;
            while shown < 2300 {
                let events: i64 = db.sums().await.values().map(|(_, events)| events).sum();
                assert!(
                    events >= shown,
                    "it went back from {shown} events to {events}"
                );
                shown = events;
            }
        })
    };
    let rebuilder = ProjectionRunner::new(db.store().clone(), Sums::default());
    let mut rebuild = rebuilder.start_rebuild();
    let outcome = tokio::time::timeout(SOON, rebuild.join())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(outcome, RebuildOutcome::Swapped);
    let progress = rebuild.progress().await.unwrap();
    assert!(
        progress.done >= 2000 && progress.total >= progress.done,
        "{progress:?}"
    );
    writing.await.unwrap();
    assert_exact(&db).await;
    reading.await.unwrap();
    // And the live one goes on.
    let position = add(db.store(), 1, 1).await;
    live.wait_for(position, SOON).await.unwrap();
    assert_exact(&db).await;
    live.stop().await.unwrap();
}

async fn a_rebuild_goes_on_where_it_was_interrupted<D: Db>() {
    let db = D::fresh().await;
    for round in 0..40 {
        add(db.store(), round % 5, 50).await;
    }
    let live = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    assert_exact(&db).await;
    live.stop().await.unwrap();
    let before = db.sums().await;
    let (sums, refused) = refusing(&[1500]);
    let count = sums.applied.clone();
    let runner = ProjectionRunner::new(db.store().clone(), sums);
    let mut rebuild = runner.clone().on_error(ErrorPolicy::stop()).start_rebuild();
    let failed = rebuild.join().await.unwrap_err();
    assert!(matches!(failed, ProjectionError::Event { .. }), "{failed}");
    assert_eq!(
        db.sums().await,
        before,
        "a rebuild that failed has changed the live read model"
    );
    refused.lock().unwrap().clear();
    count.lock().unwrap().clear();
    let mut rebuild = runner.clone().resume_rebuild();
    assert_eq!(rebuild.join().await.unwrap(), RebuildOutcome::Swapped);
    let first = count.lock().unwrap().first().copied();
    assert_eq!(first, Some(1500), "it did not go on where it was");
    assert_exact(&db).await;
    // Another one begins at the beginning.
    count.lock().unwrap().clear();
    let mut rebuild = runner.resume_rebuild();
    assert_eq!(rebuild.join().await.unwrap(), RebuildOutcome::Swapped);
    assert_eq!(count.lock().unwrap().first().copied(), Some(1));
    assert_exact(&db).await;
}
