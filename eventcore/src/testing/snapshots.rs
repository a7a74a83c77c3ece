//! The check that snapshots agree with the events that they stand for.

use std::collections::BTreeSet;

use crate::{
    EventFilter, EventSelector, EventStore, Position, StreamKey,
    command::Folding,
    execute::load::fold_apart,
    store::{MAX_PAGE_EVENTS, ReadFeedRequest},
};

/// Folds each stream of a key type twice, once from its stored snapshot and once from all of its
/// events, and panics if the states differ. Returns the number of streams.
///
/// States differ if a type or its `apply` was changed and the revision of
/// `#[stream_key(…, snapshot(revision = …))]` was not raised. Run this with today's code against a
/// copy of a store that yesterday's code has written.
///
/// # Panics
/// Panics if the states of a stream differ, if the store cannot be read, or if the key type has no
/// snapshots.
///
/// ```no_run
/// # use eventcore::{Event, StreamKey, StreamState};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { amount: u64 } }
/// # #[derive(Default, Serialize, Deserialize)]
/// # struct Account { balance: u64 }
/// # impl StreamState<AccountEvent> for Account {
/// #     fn apply(&mut self, AccountEvent::Deposited { amount }: AccountEvent) { self.balance += amount; }
/// # }
/// #[derive(StreamKey)]
/// #[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(revision = 1))]
/// struct AccountId(String);
///
/// # async fn f(copy: eventcore::memory::MemoryEventStore) {
/// let streams = eventcore::testing::assert_snapshots_agree::<AccountId>(&copy).await;
/// assert!(streams > 0, "the copy has no accounts");
/// # }
/// ```
pub async fn assert_snapshots_agree<K: StreamKey>(store: &impl EventStore) -> usize {
    let folding = Folding::of::<K>();
    let Some(snapshots) = (folding.snapshots)() else {
        panic!("streams of category `{}` have no snapshots", K::CATEGORY);
    };
    let (mut after, mut streams) = (Position::START, BTreeSet::new());
    loop {
        let request = ReadFeedRequest {
            after,
            filter: EventFilter::any_of([EventSelector::category(K::CATEGORY)]),
            limit: MAX_PAGE_EVENTS,
        };
        let page = match store.read_feed(request).await {
            Ok(page) => page,
            Err(error) => panic!("the store cannot be read: {error:?}"),
        };
        streams.extend(page.events.into_iter().map(|event| event.stream));
        if page.scanned_to == after {
            break;
        }
        after = page.scanned_to;
    }
    for stream in &streams {
        let mut states = Vec::new();
        for from_snapshot in [true, false] {
            let state = match fold_apart(store, stream, folding, from_snapshot).await {
                Ok(state) => state,
                Err(error) => panic!("stream `{stream}` cannot be folded: {error:?}"),
            };
            let json = (snapshots.encode)(&state).and_then(|json| serde_json::from_slice(&json));
            match json {
                Ok(json) => states.push(json),
                Err(error) => panic!("the state of stream `{stream}` cannot be encoded: {error}"),
            }
        }
        let states: Vec<serde_json::Value> = states;
        assert!(
            states.first() == states.last(),
            "the snapshot of stream `{stream}` leads to another state than its events: {} and not {}; raise the revision of \
             `snapshot(revision = {})`",
            states.first().unwrap_or(&serde_json::Value::Null),
            states.last().unwrap_or(&serde_json::Value::Null),
            snapshots.revision,
        );
    }
    streams.len()
}
