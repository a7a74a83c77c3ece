//! Locks for contended streams: commands of one process that contend for a stream run one after
//! another, instead of all reading, deciding and conflicting at once.
//!
//! Optimistic concurrency suits commands that rarely contend, and wastes work when they always do:
//! of n commands on one stream, each round lets one through. A conflict shows that a stream is
//! contended; from then on, until no command waits, its commands acquire the lock in the order of
//! their arrival. The locks change no result, since the store checks every version as before;
//! without them, or with other processes, commands are only slower.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard};

use crate::stream::StreamId;

/// The lock queues of the contended streams of one store in this process. A store keeps one and
/// returns it from [`EventStore::queues`](super::EventStore::queues).
#[derive(Default)]
pub struct StreamQueues {
    queues: Mutex<HashMap<StreamId, Arc<Queue<()>>>>,
    /// The number of entries, usually 0, which is read without the lock.
    count: AtomicUsize,
}

impl StreamQueues {
    /// Creates the queues of a store without contended streams.
    pub fn new() -> Self {
        Self::default()
    }

    fn is_contended(&self, stream: &StreamId) -> bool {
        self.with(|queues| queues.contains_key(stream))
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<StreamId, Arc<Queue<()>>>) -> T) -> T {
        // The map stays consistent if a holder of this lock panics.
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut queues);
        self.count.store(queues.len(), Ordering::Relaxed);
        done
    }
}

impl fmt::Debug for StreamQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamQueues")
            .field("contended", &self.count)
            .finish_non_exhaustive()
    }
}

/// The locks that one command holds on those of its streams that are contended.
pub(crate) struct Turn<'q> {
    queues: Option<&'q StreamQueues>,
    places: Vec<Place<'q>>,
}

/// An entry in the queue for the lock of one stream. Dropping it leaves the queue or releases the
/// lock.
struct Place<'q> {
    queues: &'q StreamQueues,
    stream: StreamId,
    queue: Arc<Queue<()>>,
    turn: Option<OwnedMutexGuard<()>>,
}

impl<'q> Turn<'q> {
    pub(crate) fn new(queues: Option<&'q StreamQueues>) -> Self {
        Self {
            queues,
            places: Vec::new(),
        }
    }

    /// Waits for the locks of those `streams` that are contended. If there are none, this costs
    /// next to nothing.
    pub(crate) async fn join<'a>(&mut self, streams: impl Iterator<Item = &'a StreamId>) {
        let Some(queues) = self.queues else { return };
        if !self.places.is_empty() || queues.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let contended = streams.filter(|stream| queues.is_contended(stream));
        self.places = contended
            .cloned()
            .map(|stream| queues.place(stream))
            .collect();
        self.places.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        self.wait().await;
    }

    /// Returns `true` if a conflict on `stream` calls for its lock. It does not if there are no
    /// queues, or if the lock is already held, since then another process caused the conflict.
    pub(crate) fn lacks(&self, stream: &StreamId) -> bool {
        self.queues.is_some() && self.places.iter().all(|place| place.stream != *stream)
    }

    /// Waits for the lock of `stream` as well.
    pub(crate) async fn add(&mut self, stream: StreamId) {
        let Some(queues) = self.queues else { return };
        let at = self.places.partition_point(|place| place.stream < stream);
        self.places.insert(at, queues.place(stream));
        for place in self.places.iter_mut().skip(at) {
            place.turn = None;
        }
        self.wait().await;
    }

    /// Acquires the missing locks in the order of the stream names. A waiting command holds only
    /// locks of lesser names, so no two commands wait for each other.
    async fn wait(&mut self) {
        for place in &mut self.places {
            if place.turn.is_none() {
                place.turn = Some(place.queue.clone().lock_owned().await);
            }
        }
    }
}

impl StreamQueues {
    fn place(&self, stream: StreamId) -> Place<'_> {
        let queue = self.with(|queues| queues.entry(stream.clone()).or_default().clone());
        Place {
            queues: self,
            stream,
            queue,
            turn: None,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn = None;
        self.queues.with(|queues| {
            // The references of the map and of this entry: no other command is in the queue, and
            // none can join it now.
            if Arc::strong_count(&self.queue) == 2 {
                queues.remove(&self.stream);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    fn id(key: &str) -> StreamId {
        StreamId::new(format!("queue-{key}")).unwrap()
    }

    fn poll(future: impl Future<Output = ()>) -> Poll<()> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_uncontended_stream_has_no_queue() {
        let queues = StreamQueues::new();
        let mut turn = Turn::new(Some(&queues));
        assert_eq!(poll(turn.join([id("a")].iter())), Poll::Ready(()));
        assert!(turn.lacks(&id("a")));
        assert_eq!(queues.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn whoever_comes_later_waits_until_the_turn_is_given_back() {
        let queues = StreamQueues::new();
        let (mut first, mut second) = (Turn::new(Some(&queues)), Turn::new(Some(&queues)));
        assert_eq!(poll(first.add(id("a"))), Poll::Ready(()));
        assert!(!first.lacks(&id("a")) && first.lacks(&id("b")));
        {
            let streams = [id("a"), id("b")];
            let mut waiting = pin!(second.join(streams.iter()));
            assert_eq!(poll(waiting.as_mut()), Poll::Pending);
            drop(first);
            assert_eq!(poll(waiting), Poll::Ready(()));
        }
        assert!(!second.lacks(&id("a")) && second.lacks(&id("b")));
    }

    #[test]
    fn a_dropped_wait_leaves_no_queue_behind() {
        let queues = StreamQueues::new();
        let (mut first, mut second) = (Turn::new(Some(&queues)), Turn::new(Some(&queues)));
        assert_eq!(poll(first.add(id("a"))), Poll::Ready(()));
        assert_eq!(poll(second.join([id("a")].iter())), Poll::Pending);
        drop(second);
        drop(first);
        assert_eq!(queues.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_lesser_stream_is_waited_for_without_holding_a_greater_one() {
        let queues = StreamQueues::new();
        let (mut first, mut second) = (Turn::new(Some(&queues)), Turn::new(Some(&queues)));
        assert_eq!(poll(first.add(id("b"))), Poll::Ready(()));
        assert_eq!(poll(second.add(id("a"))), Poll::Ready(()));
        // The first releases `b` while it waits for `a`, so the second gets through.
        let mut waiting = pin!(first.add(id("a")));
        assert_eq!(poll(waiting.as_mut()), Poll::Pending);
        assert_eq!(poll(second.add(id("b"))), Poll::Ready(()));
        drop(second);
        assert_eq!(poll(waiting), Poll::Ready(()));
    }
}
