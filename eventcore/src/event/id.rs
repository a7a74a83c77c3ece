//! The ids that clients make: of a commit, and from it of each of its events.

use std::fmt;

use uuid::Uuid;

/// The number of low bits of an id that number the events of a commit.
const ORDINAL_BITS: u32 = 20;
const ORDINAL_MASK: u128 = (1 << ORDINAL_BITS) - 1;
/// The random bits of an id: those of a UUID of version 7, less the number of the event.
const RANDOM_MASK: u128 = 0xFFF << 64 | ((1 << 62) - 1) & !ORDINAL_MASK;

/// The id of one commit, made by the client before the first try (a UUID of version 7 whose low 20 bits are zero).
///
/// It is how a client recognizes its own commit after an append whose outcome it did not learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(Uuid);

/// The id of one event: its commit's id plus its number in the commit, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl CommitId {
    /// A new id: the time in milliseconds, then 54 random bits.
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// The commit id made from `id` by clearing its low 20 bits, which number the events.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(Uuid::from_u128(id.as_u128() & !ORDINAL_MASK))
    }

    /// The id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// An id of the same time with other random bits, for another decision of the same command.
    pub(crate) fn with_random(self, random: u128) -> Self {
        Self::from_uuid(Uuid::from_u128(
            self.0.as_u128() & !RANDOM_MASK | random & RANDOM_MASK,
        ))
    }

    /// The id of the event with this number (from 0) in the commit.
    pub fn event(self, index: usize) -> EventId {
        let ordinal = u128::try_from(index)
            .unwrap_or(ORDINAL_MASK)
            .saturating_add(1);
        EventId(Uuid::from_u128(self.0.as_u128() | (ordinal & ORDINAL_MASK)))
    }
}

impl EventId {
    /// The event id stored as `id`.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// The id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// The commit that the event is part of.
    pub fn commit(self) -> CommitId {
        CommitId::from_uuid(self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
