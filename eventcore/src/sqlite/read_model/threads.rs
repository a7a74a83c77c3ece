//! Threads for a projection's work, which may block for an arbitrary time.
//!
//! They are not the runtime's blocking threads: a runtime waits for those when it shuts down, and a
//! projection that blocks indefinitely would keep the process from ending.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::store::EventStoreError;

type Job = Box<dyn FnOnce() + Send>;

/// The time after which an idle thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// The idle threads.
static WAITING: Mutex<Vec<(thread::ThreadId, mpsc::Sender<Job>)>> = Mutex::new(Vec::new());

fn waiting() -> MutexGuard<'static, Vec<(thread::ThreadId, mpsc::Sender<Job>)>> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs work on a thread that may block.
pub(crate) async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, EventStoreError> {
    let (answer, answered) = oneshot::channel();
    let job = Box::new(move || {
        // If the runtime was shut down, the receiver is gone.
        let _ = answer.send(work());
    });
    spawn(job).map_err(|error| EventStoreError::Busy {
        source: error.into(),
    })?;
    answered.await.map_err(|_| EventStoreError::Other {
        source: "the thread of a projection panicked".into(),
    })
}

fn spawn(mut job: Job) -> std::io::Result<()> {
    loop {
        let Some((_, thread)) = waiting().pop() else {
            break;
        };
        match thread.send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(back)) => job = back,
        }
    }
    let thread = thread::Builder::new().name("eventcore-projection".to_owned());
    thread.spawn(|| work_from(job)).map(drop)
}

/// Runs this job and all that follow, until the thread has been idle for a while.
fn work_from(mut job: Job) {
    let (sender, jobs) = mpsc::channel();
    let own = thread::current().id();
    loop {
        job();
        waiting().push((own, sender.clone()));
        job = match jobs.recv_timeout(IDLE) {
            Ok(next) => next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let mut waiting = waiting();
                if let Some(index) = waiting.iter().position(|(thread, _)| *thread == own) {
                    waiting.swap_remove(index);
                    return;
                }
                drop(waiting);
                // Another task has removed this thread from the list and is about to send a job.
                match jobs.recv() {
                    Ok(next) => next,
                    Err(mpsc::RecvError) => return,
                }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_is_used_again_and_a_panic_ends_only_one() {
        let id = || thread::current().id();
        let first = run(id).await.unwrap();
        // The thread registers as idle shortly after it has replied.
        while !waiting().iter().any(|(thread, _)| *thread == first) {
            thread::yield_now();
        }
        let panicked = run(|| -> usize { panic!("a bug") }).await;
        assert!(matches!(panicked, Err(EventStoreError::Other { .. })));
        run(id).await.unwrap();
    }
}
