//! Characters that some databases cannot store: filters with them behave the same in every store.

use super::{event, expect, feed, request, stream};
use crate::{EventFilter, EventSelector, EventStore, IdempotencyKey, StreamId};

/// Texts that are not valid as a category or a type name.
const STRANGE: [&str; 8] = [
    "\0",
    "contract\0",
    "\0contract",
    "contract\n",
    "contract\u{1b}",
    "contract\u{7f}",
    "contract\u{85}",
    "",
];

/// Checks that a filter with NUL or another control character selects nothing and is not an error,
/// and that keys cannot contain such characters.
pub async fn filters_with_strange_characters_select_nothing(store: impl EventStore) {
    let id = stream("a");
    let events = vec![event(0, "1"), event(0, "2")];
    store
        .append(request(vec![expect(&id, 0)], events))
        .await
        .unwrap();
    for strange in STRANGE {
        let selectors = [
            EventSelector::category(strange),
            EventSelector::of_type(strange),
            EventSelector::category("contract").event_type(strange),
            EventSelector::category(strange).event_type("Noted"),
        ];
        for selector in &selectors {
            let filter = EventFilter::any_of([selector.clone()]);
            let found = feed(&store, 0, filter, 10).await;
            assert_eq!(found, (vec![], 2), "{selector:?}");
            // Combined with a selector that matches, it has no effect.
            let noted = EventSelector::of_type("Noted");
            let filter = EventFilter::any_of([selector.clone(), noted]);
            let found = feed(&store, 0, filter, 10).await;
            assert_eq!(found, (vec![1, 2], 2), "{selector:?}");
        }
        let filter = EventFilter::any_of(selectors);
        assert_eq!(feed(&store, 1, filter, 10).await, (vec![], 2));
        assert!(IdempotencyKey::new(strange).is_err(), "{strange:?}");
        assert!(StreamId::new(format!("{strange}-")).is_err(), "{strange:?}");
    }
}
