//! Futures that are dropped at each of their awaits: commands leave the whole commit or nothing, and projections nothing
//! that the next one would miss or apply twice.

use std::{collections::HashSet, future::pending, pin::pin, task::Poll, time::Duration};

use eventcore::{
    Command, CommandLogic, EventStore, ExecuteOptions, IdempotencyKey, Position, RetryPolicy,
    Version, execute,
    projection::{ProjectionRunner, wait_for},
    store::{ReadStreamsRequest, StreamCursor},
};

use crate::projection::{Db, Postgres, Sqlite, Sums, TallyEvent, TallyId, add, expected};

const SOON: Duration = Duration::from_mins(2);
/// After so many polls, futures are dropped more and more rarely.
const EACH: usize = 40;

/// Polls a future so often, then drops it; what it gave, if it came to its end.
async fn drop_after<T>(polls: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left <= 1 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Every number at first, then every tenth part more.
fn polls() -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1_usize), |polls| {
        Some(polls + 1 + polls.saturating_sub(EACH) / 10)
    })
}

#[derive(Clone, Command)]
struct Both {
    #[stream]
    left: TallyId,
    #[stream]
    right: TallyId,
}

impl CommandLogic for Both {
    type State = ();
    type Error = std::convert::Infallible;

    fn apply(&self, (): &mut (), _: BothEvent<'_>) {}

    fn handle(&self, (): &(), streams: BothStreams<'_>) -> Result<(), Self::Error> {
        streams.left.append(TallyEvent::Added { amount: 1 });
        streams.right.append(TallyEvent::Added { amount: 1 });
        Ok(())
    }
}

async fn versions(store: &impl EventStore) -> [u64; 2] {
    let cursor = |tally| {
        StreamCursor::new(
            eventcore::StreamKey::stream_id(&TallyId(tally)).unwrap(),
            Version::new(u64::MAX),
        )
    };
    let request = ReadStreamsRequest {
        streams: vec![cursor(1), cursor(2)],
        snapshot: None,
        limit: 1,
        idempotency_key: None,
    };
    let page = store.read_streams(request).await.unwrap();
    [page.versions()[0].get(), page.versions()[1].get()]
}

async fn commands(store: &impl EventStore) {
    let (mut finished, mut dropped) = (0, 0);
    for (number, polls) in polls().enumerate() {
        let both = Both {
            left: TallyId(1),
            right: TallyId(2),
        };
        let key = IdempotencyKey::new(format!("both-{number}")).unwrap();
        let options = || {
            let policy = RetryPolicy::new().deadline(SOON);
            ExecuteOptions::from(policy).idempotency_key(key.clone())
        };
        match drop_after(polls, execute(store, both.clone(), options())).await {
            Some(done) => {
                done.unwrap();
                finished += 1;
            }
            None => dropped += 1,
        }
        // Whether it was made or not, now it is, once and whole. What was left behind may still be under way.
        execute(store, both, options()).await.unwrap();
        let made = number as u64 + 1;
        assert_eq!(versions(store).await, [made, made], "after {polls} polls");
        if finished > 20 {
            break;
        }
    }
    assert!(dropped > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_command_is_made_once_or_not_at_all() {
    // A store in memory never waits, so nothing can come between.
    commands(Sqlite::fresh().await.store()).await;
    commands(Postgres::fresh().await.store()).await;
}

async fn projections<D: Db>() {
    let db = D::fresh().await;
    let mut dropped = 0;
    for (number, polls) in polls().take(60).enumerate() {
        let tally = number as u64 % 3;
        let runner = || {
            let runner = ProjectionRunner::new(db.store().clone(), Sums::default());
            // The next one waits for as long.
            runner.lease(Duration::from_millis(100))
        };
        let head = add(db.store(), tally, 3).await;
        let caught_up = async {
            tokio::select! {
                ended = runner().run_until(pending::<()>()) => ended.unwrap(),
                waited = wait_for(db.store(), "sums", head, SOON) => waited.unwrap(),
            }
        };
        if drop_after(polls, caught_up).await.is_none() {
            dropped += 1;
        }
    }
    assert!(dropped > 0);
    let head = add(db.store(), 1, 3).await;
    let running = ProjectionRunner::new(db.store().clone(), Sums::default()).start();
    running.wait_for(head, SOON).await.unwrap();
    assert_eq!(head, Position::new(61 * 3));
    assert_eq!(db.sums().await, expected(db.store(), &HashSet::new()).await);
    running.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_projection_misses_nothing_and_applies_nothing_twice_on_sqlite() {
    projections::<Sqlite>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_projection_misses_nothing_and_applies_nothing_twice_on_postgres() {
    projections::<Postgres>().await;
}
