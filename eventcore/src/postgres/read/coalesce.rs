//! Coalesces requests that arrive while earlier ones are in progress, and sends them together.
//!
//! While few requests are in progress, a caller sends its request at once, in its own task. Other
//! callers wait; when a response arrives, one of them sends the requests of all waiting callers.
//! This file does not depend on the kind of request.
//!
//! The task that sent a request may not be polled for a while, so a caller that has waited too long
//! sends its request itself.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// The largest number of concurrent requests. Fewer requests are larger ones.
const UNDER_WAY: usize = 2;
/// The maximum number of requests that are sent together.
const TOGETHER: usize = 64;
/// The longest wait for other requests: longer than any request whose task is still polled.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Coalescer<R, T> {
    state: Mutex<State<R, T>>,
}

struct State<R, T> {
    /// The number of requests that may still be sent.
    free: usize,
    waiting: VecDeque<Waiting<R, T>>,
}

struct Waiting<R, T> {
    request: Arc<R>,
    reply: oneshot::Sender<Reply<R, T>>,
}

enum Reply<R, T> {
    Answer(T),
    /// The permit to send the requests of all waiting callers.
    Lead(Lead<R, T>),
}

impl<R, T> Coalescer<R, T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            free: UNDER_WAY,
            waiting: VecDeque::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// The state stays consistent if a holder of this lock panics.
    fn state(&self) -> MutexGuard<'_, State<R, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the response, or for the permit to send the request.
    pub(crate) async fn turn(self: &Arc<Self>, request: R) -> Turn<R, T> {
        let request = Arc::new(request);
        loop {
            let lead = match self.join(&request) {
                Ok(lead) => lead,
                Err(reply) => match timeout(PATIENCE, reply).await {
                    Ok(Ok(Reply::Answer(answer))) => return Turn::Answered(answer),
                    Ok(Ok(Reply::Lead(lead))) => lead,
                    // The caller that sent this request was cancelled.
                    Ok(Err(_)) => continue,
                    Err(_) => Lead {
                        coalescer: self.clone(),
                        is_extra: true,
                    },
                },
            };
            return Turn::Ask(lead.take(request));
        }
    }

    fn join(
        self: &Arc<Self>,
        request: &Arc<R>,
    ) -> Result<Lead<R, T>, oneshot::Receiver<Reply<R, T>>> {
        let mut state = self.state();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Lead {
                coalescer: self.clone(),
                is_extra: false,
            });
        }
        let (reply, answer) = oneshot::channel();
        state.waiting.push_back(Waiting {
            request: request.clone(),
            reply,
        });
        Err(answer)
    }
}

pub(crate) enum Turn<R, T> {
    /// Another caller sent the request.
    Answered(T),
    /// The caller must send the requests now.
    Ask(Together<R, T>),
}

/// The caller's own request and those of other waiting callers.
pub(crate) struct Together<R, T> {
    pub(crate) requests: Vec<Arc<R>>,
    replies: Vec<oneshot::Sender<Reply<R, T>>>,
    lead: Lead<R, T>,
}

impl<R, T> Together<R, T> {
    /// Distributes the responses, in the order of the requests; returns the caller's own.
    pub(crate) fn answer(self, answers: impl IntoIterator<Item = T>) -> Option<T> {
        // Allows the next request to be sent.
        drop(self.lead);
        let mut answers = answers.into_iter();
        let own = answers.next();
        for (reply, answer) in self.replies.into_iter().zip(answers) {
            let _ = reply.send(Reply::Answer(answer));
        }
        own
    }
}

/// The permit to send requests. On drop it passes to the next waiting caller.
struct Lead<R, T> {
    coalescer: Arc<Coalescer<R, T>>,
    /// `true` if it exceeds the maximum number of permits, because the holders of the others make
    /// no progress.
    is_extra: bool,
}

impl<R, T> Lead<R, T> {
    fn take(self, own: Arc<R>) -> Together<R, T> {
        let (mut requests, mut replies) = (vec![own], Vec::new());
        let mut state = self.coalescer.state();
        while requests.len() < TOGETHER
            && let Some(waiting) = state.waiting.pop_front()
        {
            if !waiting.reply.is_closed() {
                requests.push(waiting.request);
                replies.push(waiting.reply);
            }
        }
        drop(state);
        Together {
            requests,
            replies,
            lead: self,
        }
    }
}

impl<R, T> Drop for Lead<R, T> {
    fn drop(&mut self) {
        let mut state = self.coalescer.state();
        let next = loop {
            match state.waiting.pop_front() {
                Some(waiting) if waiting.reply.is_closed() => {}
                Some(waiting) => break waiting,
                None => {
                    state.free += usize::from(!self.is_extra);
                    return;
                }
            }
        };
        drop(state);
        // If the receiver is gone by now, this drops the new permit, which passes it on again.
        let _ = next.reply.send(Reply::Lead(Self {
            coalescer: self.coalescer.clone(),
            is_extra: self.is_extra,
        }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Doubling = Arc<Coalescer<u64, u64>>;

    async fn double(coalescer: Doubling, number: u64) -> u64 {
        match coalescer.turn(number).await {
            Turn::Answered(answer) => answer,
            Turn::Ask(together) => {
                tokio::task::yield_now().await;
                let answers: Vec<_> = together
                    .requests
                    .iter()
                    .map(|number| **number * 2)
                    .collect();
                together.answer(answers).unwrap()
            }
        }
    }

    async fn lead(coalescer: &Doubling, number: u64) -> Together<u64, u64> {
        match coalescer.turn(number).await {
            Turn::Ask(together) => together,
            Turn::Answered(answer) => panic!("{answer} was not asked for"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_are_asked_for_together() {
        let coalescer = Coalescer::new();
        let first = lead(&coalescer, 1).await;
        let second = lead(&coalescer, 2).await;
        let waiting: Vec<_> = (10..20)
            .map(|n| tokio::spawn(double(coalescer.clone(), n)))
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(first.requests.len(), 1);
        assert_eq!(first.answer([2]), Some(2));
        for (number, waiting) in (10..).zip(waiting) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        drop(second);
        assert_eq!(coalescer.state().free, UNDER_WAY);
    }

    #[tokio::test]
    async fn those_who_ask_and_do_not_go_on_hold_nobody_up_for_good() {
        let coalescer = Coalescer::new();
        let stuck = [lead(&coalescer, 1).await, lead(&coalescer, 2).await];
        let waiting: Vec<_> = (10..100)
            .map(|n| tokio::spawn(double(coalescer.clone(), n)))
            .collect();
        // The longest waiter is cancelled before it gets the permit.
        let mut gone = Box::pin(coalescer.turn(3));
        assert!(timeout(Duration::ZERO, &mut gone).await.is_err());
        for (number, waiting) in (10..).zip(waiting) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        assert_eq!(coalescer.state().free, 0);
        drop((stuck, gone));
        assert_eq!(coalescer.state().free, UNDER_WAY);
    }

    #[tokio::test]
    async fn who_is_dropped_while_asking_leaves_nobody_behind() {
        let coalescer = Coalescer::new();
        let first = lead(&coalescer, 1).await;
        let second = lead(&coalescer, 2).await;
        let waiting: Vec<_> = (10..20)
            .map(|n| tokio::spawn(double(coalescer.clone(), n)))
            .collect();
        tokio::task::yield_now().await;
        // The caller that is to send for the others is cancelled before or while it does.
        drop(first);
        waiting.first().unwrap().abort();
        tokio::task::yield_now().await;
        waiting.get(1).unwrap().abort();
        drop(second);
        for (number, waiting) in (10..).zip(waiting).skip(2) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        assert_eq!(coalescer.state().free, UNDER_WAY);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_answer_comes_to_who_asked_whoever_is_dropped() {
        let (coalescer, answered) = (Coalescer::new(), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..2_000_u64)
            .map(|number| {
                let (coalescer, answered) = (coalescer.clone(), answered.clone());
                tokio::spawn(async move {
                    if number.is_multiple_of(3) {
                        let time = Duration::from_micros(number % 50);
                        let _ = timeout(time, double(coalescer, number)).await;
                    } else {
                        assert_eq!(double(coalescer, number).await, number * 2);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(answered.load(Ordering::Relaxed), 1_333);
        assert_eq!(coalescer.state().free, UNDER_WAY);
    }
}
