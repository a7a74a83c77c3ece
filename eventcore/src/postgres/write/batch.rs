//! Selection of the queued commits that are sent together. This file knows neither SQL nor connections.
//!
//! The server checks all commits of a batch against the versions before the batch. So a commit is
//! not sent together with an earlier one that writes to a stream which it names, or that has the
//! same idempotency key: it waits for the next batch, when the outcome is known. Commits that are
//! known to be refused, from the results of the last batch, change nothing and block no other
//! commit; otherwise, many tasks on one stream would be refused one batch at a time.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use crate::postgres::Reply;
use crate::{
    store::{AppendRequest, CommitReceipt, EventStoreError, IdempotencyKey},
    stream::StreamId,
};

/// The maximum number of commits in a batch.
const COMMITS: usize = 1024;
/// A batch takes no further commit once it has this many events …
const EVENTS: usize = 20_000;
/// … or bytes of payload.
const BYTES: usize = 8 * 1024 * 1024;

/// A queued commit.
pub(crate) struct Job {
    pub(crate) request: AppendRequest,
    pub(crate) reply: Reply<CommitReceipt>,
}

/// The queued commits, in the order of their arrival.
#[derive(Default)]
pub(crate) struct Waiting {
    jobs: VecDeque<Job>,
    learned: Learned,
}

/// Lower bounds of versions, and used keys, from the last batch. They need not be right: if they
/// are wrong, the server refuses the batch as a whole and its commits are made one by one.
#[derive(Default)]
pub(crate) struct Learned {
    versions: HashMap<StreamId, u64>,
    keys: HashSet<Arc<str>>,
}

impl Waiting {
    pub(crate) fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Returns the next commits that may be sent together, without those whose callers were
    /// dropped.
    pub(crate) fn next(&mut self) -> Vec<Job> {
        let mut batch = Batch::default();
        let mut chosen = Vec::new();
        let mut later = VecDeque::new();
        while let Some(job) = self.jobs.pop_front() {
            if job.reply.is_closed() {
                continue;
            }
            if batch.is_full() {
                later.push_back(job);
                break;
            }
            if batch.takes(&job.request, &self.learned) {
                chosen.push(job);
            } else {
                later.push_back(job);
            }
        }
        later.append(&mut self.jobs);
        self.jobs = later;
        self.learned = Learned::default();
        chosen
    }

    /// Records the result of a commit, if any queued commit could use it.
    pub(crate) fn learn(&mut self, job: &Job, result: &Result<CommitReceipt, EventStoreError>) {
        if self.jobs.is_empty() {
            return;
        }
        let learned = &mut self.learned;
        match result {
            Ok(_) => {
                for event in job.request.events() {
                    if let Some(target) = job.request.expected().get(event.stream) {
                        // A lower bound of one event is enough.
                        let version = target.version.get().saturating_add(1);
                        learned.versions.insert(target.stream.clone(), version);
                    }
                }
                let key = job.request.idempotency_key().map(IdempotencyKey::text);
                learned.keys.extend(key.cloned());
            }
            Err(EventStoreError::VersionConflict(conflict)) => {
                let version = conflict.actual.get();
                learned.versions.insert(conflict.stream.clone(), version);
            }
            Err(_) => {}
        }
    }
}

/// The changes made by a batch.
#[derive(Default)]
struct Batch {
    written: HashSet<StreamId>,
    keys: HashSet<Arc<str>>,
    commits: usize,
    events: usize,
    bytes: usize,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.commits >= COMMITS || self.events >= EVENTS || self.bytes >= BYTES
    }

    /// Adds the commit, unless it has to wait for one that is already in the batch.
    fn takes(&mut self, request: &AppendRequest, learned: &Learned) -> bool {
        let refused = request
            .idempotency_key()
            .is_some_and(|key| learned.keys.contains(key.text()))
            || request.expected().iter().any(|expected| {
                learned
                    .versions
                    .get(&expected.stream)
                    .is_some_and(|version| *version > expected.version.get())
            });
        if !refused {
            let waits = request
                .idempotency_key()
                .is_some_and(|key| self.keys.contains(key.text()))
                || (!self.written.is_empty()
                    && request
                        .expected()
                        .iter()
                        .any(|expected| self.written.contains(&expected.stream)));
            if waits {
                return false;
            }
            for event in request.events() {
                if let Some(target) = request.expected().get(event.stream) {
                    self.written.insert(target.stream.clone());
                }
            }
            let key = request.idempotency_key().map(IdempotencyKey::text);
            self.keys.extend(key.cloned());
        }
        self.commits += 1;
        self.events += request.events().len();
        self.bytes += request
            .events()
            .iter()
            .map(|event| event.payload.len())
            .sum::<usize>();
        true
    }
}
