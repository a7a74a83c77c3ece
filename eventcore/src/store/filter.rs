//! Selections of the events of a feed. This module compares names; each store finds the events in
//! its own way.

use std::{borrow::Cow, fmt};

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

/// Describes the selection in a canonical form: two filters have the same text exactly if they select
/// the same events. The order of selectors, repeated ones, and those that another one includes make
/// no difference. The names of categories, types and streams are JSON strings.
///
/// ```
/// use eventcore::{EventFilter, EventSelector};
///
/// let account = EventSelector::category("account");
/// let opened = account.clone().event_type("AccountOpened");
/// let placed = EventSelector::category("order").event_type("OrderPlaced");
/// assert_eq!(
///     EventFilter::any_of([placed, opened, account]).to_string(),
///     r#"category "account" or type "OrderPlaced" of category "order""#,
/// );
/// ```
impl fmt::Display for EventFilter {
    // The runner stores this text with each checkpoint. Another text for the same filter would stop
    // every projection that uses it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selectors = match self {
            Self::All => return f.write_str("all events"),
            Self::Stream(only) => return write!(f, "stream {}", quoted(only.as_str())),
            Self::AnyOf(selectors) => selectors,
        };
        let is_included = |one: &EventSelector| {
            let others = selectors.iter().filter(|other| *other != one);
            others.clone().any(|other| other.includes(one))
        };
        let mut selectors: Vec<_> = selectors.iter().filter(|one| !is_included(one)).collect();
        selectors.sort_unstable_by_key(|one| (&one.category, &one.type_name));
        selectors.dedup();
        if selectors.is_empty() {
            return f.write_str("no events");
        }
        for (number, selector) in selectors.into_iter().enumerate() {
            let separator = if number == 0 { "" } else { " or " };
            write!(f, "{separator}{selector}")?;
        }
        Ok(())
    }
}

/// Returns a name as a JSON string.
fn quoted(name: &str) -> serde_json::Value {
    serde_json::Value::from(name)
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

    /// Returns `true` if this selects every event that `other` selects.
    fn includes(&self, other: &Self) -> bool {
        let covers = |own: &Option<_>, others: &Option<_>| own.is_none() || own == others;
        covers(&self.category, &other.category) && covers(&self.type_name, &other.type_name)
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

/// Describes the selection, as in the text of an [`EventFilter`].
impl fmt::Display for EventSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.only_category(), self.only_event_type()) {
            (Some(category), Some(name)) => {
                write!(f, "type {} of category {}", quoted(name), quoted(category))
            }
            (Some(category), None) => write!(f, "category {}", quoted(category)),
            (None, Some(name)) => write!(f, "type {}", quoted(name)),
            (None, None) => f.write_str("all events"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(name: &'static str) -> EventSelector {
        EventSelector::category(name)
    }

    #[test]
    fn the_text_of_a_filter_is_fixed() {
        // A changed text would stop every projection that has stored the former one.
        let stream = StreamId::new("account-7").map(EventFilter::Stream);
        let filters = [
            (Ok(EventFilter::All), "all events"),
            (stream, r#"stream "account-7""#),
            (Ok(EventFilter::any_of([])), "no events"),
            (
                Ok(EventFilter::any_of([category("account")])),
                r#"category "account""#,
            ),
            (
                Ok(EventFilter::any_of([
                    EventSelector::of_type("Placed"),
                    category("order").event_type("Shipped"),
                    category("account"),
                ])),
                r#"type "Placed" or category "account" or type "Shipped" of category "order""#,
            ),
            (
                Ok(EventFilter::any_of([EventSelector::of_type(
                    "a\" or \\\0é",
                )])),
                r#"type "a\" or \\\u0000é""#,
            ),
        ];
        for (filter, text) in filters {
            assert_eq!(filter.map(|filter| filter.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn filters_have_the_same_text_exactly_if_they_select_the_same_events() {
        let names = [None, Some("a"), Some("b")];
        let of = |category: Option<&'static str>, name: Option<&'static str>| EventSelector {
            category: category.map(Cow::from),
            type_name: name.map(Cow::from),
        };
        let pairs = names.map(|category| names.map(|name| (category, name)));
        let pairs = pairs
            .into_iter()
            .flatten()
            .filter(|pair| *pair != (None, None));
        let all: Vec<_> = pairs.map(|(category, name)| of(category, name)).collect();
        // A third name stands for all others.
        let events = ["a", "b", "c"].map(|one| ["a", "b", "c"].map(|other| (one, other)));
        let events: Vec<_> = events.into_iter().flatten().collect();
        let mut texts = std::collections::BTreeMap::new();
        for set in 0..1_u32 << all.len() {
            let chosen = all
                .iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1);
            let chosen: Vec<_> = chosen.map(|(_, selector)| selector.clone()).collect();
            let selects = |(category, name): &(&str, &str)| {
                chosen
                    .iter()
                    .any(|selector| selector.matches(category, name))
            };
            let selected: Vec<bool> = events.iter().map(selects).collect();
            let backwards = chosen.iter().rev().chain(&chosen).cloned();
            let backwards = EventFilter::any_of(backwards).to_string();
            let text = EventFilter::AnyOf(chosen).to_string();
            assert_eq!(text, backwards);
            let known = texts.entry(selected).or_insert_with(|| text.clone());
            assert_eq!(*known, text);
        }
        let different: std::collections::BTreeSet<_> = texts.values().collect();
        assert_eq!(different.len(), texts.len());
    }
}
