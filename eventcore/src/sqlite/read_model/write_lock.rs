//! The write lock within this process: SQLite has one write lock for a file, and waits for it by
//! polling.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A fair lock, granted in the order of the requests. A clone is another handle to it.
#[derive(Clone, Default)]
pub(crate) struct FairLock(Arc<Inner>);

#[derive(Default)]
struct Inner {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    next: u64,
    /// The first in the queue holds the lock.
    waiting: VecDeque<u64>,
}

/// Holds the lock until it is dropped.
pub(crate) struct Turn {
    turns: FairLock,
    number: u64,
}

impl FairLock {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the lock, which may block the thread. Returns `None` on timeout.
    pub(crate) fn take(&self, timeout: Duration) -> Option<Turn> {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back(number);
        // Leaves the queue on every path.
        let turn = Turn {
            turns: self.clone(),
            number,
        };
        let until = Instant::now() + timeout;
        while queue.waiting.front() != Some(&number) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(queue);
                return None;
            }
            let waited = self.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(queue);
        Some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        queue.waiting.retain(|waiting| *waiting != self.number);
        drop(queue);
        self.turns.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn turns_come_in_the_order_of_asking() {
        let turns = FairLock::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        let first = turns.take(Duration::ZERO).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let (others, order) = (turns.clone(), order.clone());
                let thread = thread::spawn(move || {
                    let turn = others.take(Duration::from_secs(10)).unwrap();
                    order.lock().unwrap().push(number);
                    drop(turn);
                });
                while turns.queue().waiting.len() < number + 2 {
                    thread::yield_now();
                }
                thread
            })
            .collect();
        drop(first);
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(order.lock().unwrap().iter().copied().eq(0..8));
    }

    #[test]
    fn who_does_not_get_a_turn_in_time_leaves_the_queue() {
        let turns = FairLock::default();
        let first = turns.take(Duration::ZERO).unwrap();
        assert!(turns.take(Duration::from_millis(5)).is_none());
        drop(first);
        assert!(turns.take(Duration::ZERO).is_some());
    }
}
