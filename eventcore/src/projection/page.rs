//! The order in which the events of a page are applied: [`PagePlan`], a state machine that performs
//! no I/O.

use std::ops::Range;

/// Selects the events of a page for the next batch, based on the outcomes of the previous batches.
///
/// Batches are as large as the batch size allows until something fails. An event that failed is
/// retried alone, after the events before it are committed. If a commit failed because of an
/// unknown event, each event of that batch is committed alone.
#[derive(Debug)]
pub(super) struct PagePlan {
    /// The number of events of the page.
    events: usize,
    /// The index of the first event that is not done.
    next: usize,
    /// The index of an event that could not be applied. Batches end before it.
    failed: Option<usize>,
    /// The index before which events are committed one by one.
    alone_until: usize,
    /// The number of failed attempts to apply the event `next`.
    attempts: u32,
}

/// The next step after an event could not be applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Apply the events before it again, without it.
    Again,
    /// Let the error policy decide, since all events before it are done.
    Judge {
        /// The event's index in the page.
        event: usize,
        /// The number of attempts, including this one.
        attempts: u32,
    },
}

impl PagePlan {
    pub(super) fn new(events: usize) -> Self {
        Self {
            events,
            next: 0,
            failed: None,
            alone_until: 0,
            attempts: 0,
        }
    }

    /// Returns the events of the next batch, at most `size` of them. The range is empty for a page
    /// without events, whose checkpoint is committed nevertheless.
    pub(super) fn batch(&self, size: usize) -> Range<usize> {
        let start = self.next;
        let most = start.saturating_add(size.max(1));
        let end = match self.failed {
            _ if start < self.alone_until => start + 1,
            Some(failed) if failed == start => start + 1,
            Some(failed) if failed > start => failed.min(most),
            _ => most,
        };
        start..end.min(self.events)
    }

    /// Returns the number of events that are done.
    pub(super) fn done(&self) -> usize {
        self.next
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next >= self.events
    }

    /// Records that the first `events` events of the batch are committed.
    pub(super) fn committed(&mut self, events: usize) {
        self.next += events;
        self.attempts = 0;
    }

    /// Records that an event could not be applied, after `applied` events of the batch that are not
    /// committed.
    pub(super) fn failed(&mut self, applied: usize) -> Failed {
        self.failed = Some(self.next + applied);
        if applied > 0 {
            return Failed::Again;
        }
        self.attempts = self.attempts.saturating_add(1);
        Failed::Judge {
            event: self.next,
            attempts: self.attempts,
        }
    }

    /// Records that the batch could not be committed, and that it is unknown which event is the
    /// cause.
    pub(super) fn unclear(&mut self, batch: &Range<usize>) {
        self.alone_until = batch.end;
    }

    /// Records that the judged event is now a dead letter.
    pub(super) fn parked(&mut self) {
        self.committed(1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn batches_follow_one_another_up_to_the_end() {
        let mut plan = PagePlan::new(10);
        assert_eq!(plan.batch(4), 0..4);
        plan.committed(4);
        // Cut short by the time limit.
        assert_eq!(plan.batch(16), 4..10);
        plan.committed(1);
        assert_eq!((plan.batch(16), plan.done()), (5..10, 5));
        assert!(!plan.is_complete());
        plan.committed(5);
        assert!(plan.is_complete());
    }

    #[test]
    fn a_page_without_events_has_one_empty_batch() {
        let plan = PagePlan::new(0);
        assert_eq!(plan.batch(16), 0..0);
        assert!(plan.is_complete());
    }

    #[test]
    fn an_event_that_fails_is_judged_after_those_before_it_are_committed() {
        let mut plan = PagePlan::new(10);
        assert_eq!(plan.failed(3), Failed::Again);
        assert_eq!(plan.batch(16), 0..3);
        plan.committed(3);
        assert_eq!(plan.batch(16), 3..4);
        for attempts in 1..=3 {
            assert_eq!(plan.failed(0), Failed::Judge { event: 3, attempts });
            assert_eq!(plan.batch(16), 3..4, "it is tried with others");
        }
        plan.parked();
        assert_eq!(plan.batch(16), 4..10);
        let attempts = 1;
        assert_eq!(plan.failed(0), Failed::Judge { event: 4, attempts });
    }

    #[test]
    fn an_event_that_succeeds_after_all_holds_up_nothing() {
        let mut plan = PagePlan::new(10);
        let attempts = 1;
        assert_eq!(plan.failed(0), Failed::Judge { event: 0, attempts });
        plan.committed(1);
        assert_eq!(plan.batch(16), 1..10);
    }

    #[test]
    fn after_a_commit_that_failed_for_one_of_several_each_is_committed_alone() {
        let mut plan = PagePlan::new(10);
        plan.committed(2);
        let batch = plan.batch(4);
        plan.unclear(&batch);
        for event in 2..6 {
            assert_eq!(plan.batch(4), event..event + 1);
            plan.committed(1);
        }
        assert_eq!(plan.batch(4), 6..10);
    }

    /// Covers random failing events, detected when they are applied or by the commit, with and
    /// without rollback. Each good event is committed once and each bad one judged, in order.
    #[test]
    fn whatever_fails_every_event_is_done_once_and_in_order() {
        let mut random = fastrand::Rng::with_seed(13);
        for _ in 0..2000 {
            let events = random.usize(0..40);
            let mut some = |share: f64| -> BTreeSet<usize> {
                (0..events).filter(|_| random.f64() < share).collect()
            };
            let (fails, fails_to_commit) = (some(0.1), some(0.1));
            let rolls_back = random.bool();
            let (mut plan, mut steps) = (PagePlan::new(events), 0);
            let (mut committed, mut judged) = (Vec::new(), Vec::new());
            while !plan.is_complete() {
                steps += 1;
                assert!(steps < 400, "it does not end");
                let batch = plan.batch(random.usize(1..20));
                assert!(!batch.is_empty());
                let bad = batch.clone().find(|event| fails.contains(event));
                let good = batch.start..bad.unwrap_or(batch.end);
                let cannot_commit = good.clone().any(|event| fails_to_commit.contains(&event));
                let mut judge = |plan: &mut PagePlan, applied| {
                    if let Failed::Judge { event, .. } = plan.failed(applied) {
                        judged.push(event);
                        plan.parked();
                    }
                };
                match bad {
                    Some(bad) if rolls_back || good.is_empty() => {
                        judge(&mut plan, bad - batch.start);
                    }
                    _ if cannot_commit && good.len() == 1 => judge(&mut plan, 0),
                    _ if cannot_commit => plan.unclear(&good),
                    bad => {
                        committed.extend(good.clone());
                        plan.committed(good.len());
                        if bad.is_some() {
                            judge(&mut plan, 0);
                        }
                    }
                }
            }
            let bad: BTreeSet<_> = fails.union(&fails_to_commit).copied().collect();
            assert!(judged.iter().eq(&bad), "{judged:?} {bad:?}");
            assert!(
                committed
                    .iter()
                    .copied()
                    .eq((0..events).filter(|n| !bad.contains(n)))
            );
        }
    }
}
