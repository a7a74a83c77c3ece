//! Selections of the events of a feed. This module compares names; each store finds the events in
//! its own way.

use std::borrow::Cow;

use crate::stream::StreamId;

/// A selection of the events of a feed.
///
/// ```
/// use eventcore::{EventFilter, EventSelector, StreamId};
///
/// let accounts_and_new_orders = EventFilter::any_of([
///     EventSelector::category("account"),
///     EventSelector::category("order").event_type("OrderPlaced"),
/// ]);
/// assert!(accounts_and_new_orders.matches(&StreamId::new("account-7")?, "AccountOpened"));
/// assert!(!accounts_and_new_orders.matches(&StreamId::new("order-1")?, "OrderShipped"));
/// # Ok::<(), eventcore::StreamIdError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum EventFilter {
    /// Every event. This is the only feed whose positions have no gaps, so a reader can verify that
    /// it missed none.
    #[default]
    All,
    /// The events of one stream.
    Stream(StreamId),
    /// The events that match at least one selector; none if there are no selectors.
    AnyOf(Vec<EventSelector>),
}

impl EventFilter {
    /// Selects the events that match at least one of `selectors`.
    pub fn any_of(selectors: impl IntoIterator<Item = EventSelector>) -> Self {
        Self::AnyOf(selectors.into_iter().collect())
    }

    /// Returns `true` if an event of this stream and type is selected.
    pub fn matches(&self, stream: &StreamId, type_name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Stream(only) => only == stream,
            Self::AnyOf(selectors) => {
                let category = stream.category();
                selectors
                    .iter()
                    .any(|selector| selector.matches(category, type_name))
            }
        }
    }
}

/// A selection of the events of a category, of a type, or of a type within a category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSelector {
    // At least one of the two is set.
    category: Option<Cow<'static, str>>,
    type_name: Option<Cow<'static, str>>,
}

impl EventSelector {
    /// Selects all events in the streams of a category, such as `account`.
    pub fn category(category: impl Into<Cow<'static, str>>) -> Self {
        Self {
            category: Some(category.into()),
            type_name: None,
        }
    }

    /// Selects all events with a stored name, such as `AccountOpened`, in any stream.
    pub fn of_type(type_name: impl Into<Cow<'static, str>>) -> Self {
        Self {
            category: None,
            type_name: Some(type_name.into()),
        }
    }

    /// Narrows the selection to events with this stored name.
    pub fn event_type(mut self, type_name: impl Into<Cow<'static, str>>) -> Self {
        self.type_name = Some(type_name.into());
        self
    }

    /// Returns `true` if an event with this stored name in a stream of this category is selected.
    pub fn matches(&self, category: &str, type_name: &str) -> bool {
        let is = |wanted: &Option<Cow<'static, str>>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.category, category) && is(&self.type_name, type_name)
    }

    /// Returns the category that the selection is limited to, if any.
    pub fn only_category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    /// Returns the stored name that the selection is limited to, if any.
    pub fn only_event_type(&self) -> Option<&str> {
        self.type_name.as_deref()
    }
}
