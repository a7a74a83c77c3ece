//! Questions that gather while earlier ones are under way, and then travel together.
//!
//! Whoever asks while few questions are under way asks at once, in its own task. Others wait; when an answer arrives, one
//! of them asks for all who wait. It knows nothing of what is asked.
//!
//! A task that asks may have something else to do first than to take its answer. So whoever has waited for long asks as well.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// The largest number of concurrent requests. Fewer requests are larger ones.
const UNDER_WAY: usize = 2;
/// The most that travel together.
const TOGETHER: usize = 64;
/// The longest wait for others: longer than any request whose task is still polled.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) struct Gather<R, T> {
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
    /// It is your turn to ask, for all who wait.
    Lead(Lead<R, T>),
}

impl<R, T> Gather<R, T> {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            free: UNDER_WAY,
            waiting: VecDeque::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    /// Nothing is left half changed under this lock.
    fn state(&self) -> MutexGuard<'_, State<R, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer, or for one's turn to ask.
    pub(crate) async fn turn(self: &Arc<Self>, request: R) -> Turn<R, T> {
        let request = Arc::new(request);
        loop {
            let lead = match self.join(&request) {
                Ok(lead) => lead,
                Err(reply) => match timeout(PATIENCE, reply).await {
                    Ok(Ok(Reply::Answer(answer))) => return Turn::Answered(answer),
                    Ok(Ok(Reply::Lead(lead))) => lead,
                    // Whoever asked for us was dropped.
                    Ok(Err(_)) => continue,
                    Err(_) => Lead {
                        gather: self.clone(),
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
                gather: self.clone(),
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
    /// Somebody else asked.
    Answered(T),
    /// Ask now.
    Ask(Together<R, T>),
}

/// One's own request and those of others who wait.
pub(crate) struct Together<R, T> {
    pub(crate) requests: Vec<Arc<R>>,
    replies: Vec<oneshot::Sender<Reply<R, T>>>,
    lead: Lead<R, T>,
}

impl<R, T> Together<R, T> {
    /// Hands out the answers, in the order of the requests; returns one's own.
    pub(crate) fn answer(self, answers: impl IntoIterator<Item = T>) -> Option<T> {
        // The next question may go.
        drop(self.lead);
        let mut answers = answers.into_iter();
        let own = answers.next();
        for (reply, answer) in self.replies.into_iter().zip(answers) {
            let _ = reply.send(Reply::Answer(answer));
        }
        own
    }
}

/// The right to ask. It goes to the next who waits when it is dropped, by whatever way.
struct Lead<R, T> {
    gather: Arc<Gather<R, T>>,
    /// Beyond the number that may ask, because they do not go on.
    is_extra: bool,
}

impl<R, T> Lead<R, T> {
    fn take(self, own: Arc<R>) -> Together<R, T> {
        let (mut requests, mut replies) = (vec![own], Vec::new());
        let mut state = self.gather.state();
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
        let mut state = self.gather.state();
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
        // If it is gone by now, this drops the new right, and so passes it on.
        let _ = next.reply.send(Reply::Lead(Self {
            gather: self.gather.clone(),
            is_extra: self.is_extra,
        }));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    type Doubling = Arc<Gather<u64, u64>>;

    async fn double(gather: Doubling, number: u64) -> u64 {
        match gather.turn(number).await {
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

    async fn lead(gather: &Doubling, number: u64) -> Together<u64, u64> {
        match gather.turn(number).await {
            Turn::Ask(together) => together,
            Turn::Answered(answer) => panic!("{answer} was not asked for"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_are_asked_for_together() {
        let gather = Gather::new();
        let first = lead(&gather, 1).await;
        let second = lead(&gather, 2).await;
        let waiting: Vec<_> = (10..20)
            .map(|n| tokio::spawn(double(gather.clone(), n)))
            .collect();
        tokio::task::yield_now().await;
        assert_eq!(first.requests.len(), 1);
        assert_eq!(first.answer([2]), Some(2));
        for (number, waiting) in (10..).zip(waiting) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        drop(second);
        assert_eq!(gather.state().free, UNDER_WAY);
    }

    #[tokio::test]
    async fn those_who_ask_and_do_not_go_on_hold_nobody_up_for_good() {
        let gather = Gather::new();
        let stuck = [lead(&gather, 1).await, lead(&gather, 2).await];
        let waiting: Vec<_> = (10..100)
            .map(|n| tokio::spawn(double(gather.clone(), n)))
            .collect();
        // It waits the longest, and is not there when it may ask.
        let mut gone = Box::pin(gather.turn(3));
        assert!(timeout(Duration::ZERO, &mut gone).await.is_err());
        for (number, waiting) in (10..).zip(waiting) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        assert_eq!(gather.state().free, 0);
        drop((stuck, gone));
        assert_eq!(gather.state().free, UNDER_WAY);
    }

    #[tokio::test]
    async fn who_is_dropped_while_asking_leaves_nobody_behind() {
        let gather = Gather::new();
        let first = lead(&gather, 1).await;
        let second = lead(&gather, 2).await;
        let waiting: Vec<_> = (10..20)
            .map(|n| tokio::spawn(double(gather.clone(), n)))
            .collect();
        tokio::task::yield_now().await;
        // One of them is to ask for the others, and is gone before it does, or in the middle of it.
        drop(first);
        waiting.first().unwrap().abort();
        tokio::task::yield_now().await;
        waiting.get(1).unwrap().abort();
        drop(second);
        for (number, waiting) in (10..).zip(waiting).skip(2) {
            assert_eq!(waiting.await.unwrap(), number * 2);
        }
        assert_eq!(gather.state().free, UNDER_WAY);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_answer_comes_to_who_asked_whoever_is_dropped() {
        let (gather, answered) = (Gather::new(), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..2_000_u64)
            .map(|number| {
                let (gather, answered) = (gather.clone(), answered.clone());
                tokio::spawn(async move {
                    if number.is_multiple_of(3) {
                        let time = Duration::from_micros(number % 50);
                        let _ = timeout(time, double(gather, number)).await;
                    } else {
                        assert_eq!(double(gather, number).await, number * 2);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(answered.load(Ordering::Relaxed), 1_333);
        assert_eq!(gather.state().free, UNDER_WAY);
    }
}
