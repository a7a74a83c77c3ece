//! The order in which the events of a page are applied: [`PagePlan`], a state machine without input or output.

use std::ops::Range;

/// Decides which events of a page the next batch takes, from what became of the batches before it.
///
/// Batches are as large as their size allows, until something fails. An event that failed is applied again by itself, after
/// those before it; if a commit failed and it is unknown for which event, each event of that batch is committed by itself.
#[derive(Debug)]
pub(super) struct PagePlan {
    /// The number of events of the page.
    events: usize,
    /// The first event that is not done.
    next: usize,
    /// An event that could not be applied. Batches end before it.
    failed: Option<usize>,
    /// Events before this one are committed one by one.
    alone_until: usize,
    /// The number of failed attempts to apply the event `next`.
    attempts: u32,
}

/// The consequence of an event that was not applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The events before it are applied again without it.
    Again,
    /// All events before it are done: the error policy decides.
    Judge {
        /// The event's index in the page.
        event: usize,
        /// The number of attempts, this one included.
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

    /// The events of the next batch, at most `size` of them. It is empty for a page without events, whose checkpoint is
    /// committed all the same.
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

    /// The number of events that are done.
    pub(super) fn done(&self) -> usize {
        self.next
    }

    pub(super) fn is_complete(&self) -> bool {
        self.next >= self.events
    }

    /// So many events of the batch are committed.
    pub(super) fn committed(&mut self, events: usize) {
        self.next += events;
        self.attempts = 0;
    }

    /// After `applied` further events of the batch, which are not committed, one could not be applied.
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

    /// The batch could not be committed, and it is unknown for which of its events.
    pub(super) fn unclear(&mut self, batch: &Range<usize>) {
        self.alone_until = batch.end;
    }

    /// The event that was judged is set aside.
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
        // Cut short by its time.
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

    /// Any bad events, found when they are applied or only by the commit, with and without a rollback: each good event is
    /// committed once, each bad one judged, in order.
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
                        judge(&mut plan, bad - batch.start)
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
