//! Numbers of events: [`Version`] within a stream, [`Position`] within the whole store.

use std::fmt;

/// The number of events in a stream, and so the version of its latest event; 0 for a stream without events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(u64);

/// The position of an event among all events of a store: dense, 1 to n, in commit order; 0 is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(u64);

macro_rules! count {
    ($name:ident, $start:ident, $start_doc:literal) => {
        impl $name {
            #[doc = $start_doc]
            pub const $start: Self = Self(0);

            /// Creates a value from a number.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// Returns the value as a number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// Returns the value that is `count` higher, saturating at the maximum instead of
            /// overflowing.
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

count!(Version, EMPTY, "The version of a stream without events.");
count!(Position, START, "Before the first event.");
