//! Ids made by clients: the id of a commit, and the ids of its events, which derive from it.

use std::fmt;

use uuid::Uuid;

/// The number of low bits of an id that number the events of a commit.
const ORDINAL_BITS: u32 = 20;
const ORDINAL_MASK: u128 = (1 << ORDINAL_BITS) - 1;
/// The random bits of an id: those of a version 7 UUID, without the bits that number the event.
const RANDOM_MASK: u128 = 0xFFF << 64 | ((1 << 62) - 1) & !ORDINAL_MASK;

/// The id of one commit, made by the client before the first attempt (a version 7 UUID whose low 20
/// bits are zero).
///
/// By this id a client recognizes its own commit after an append with an unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(Uuid);

/// The id of one event: the id of its commit plus the event's number in the commit, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl CommitId {
    /// Generates a new id: the time in milliseconds, then 54 random bits.
    pub fn generate() -> Self {
        Self::from_uuid(Uuid::now_v7())
    }

    /// Creates a commit id from `id` by clearing its low 20 bits, which number the events.
    pub fn from_uuid(id: Uuid) -> Self {
        Self(Uuid::from_u128(id.as_u128() & !ORDINAL_MASK))
    }

    /// Returns the id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Returns an id with the same time and other random bits, for another decision of the same
    /// command.
    pub(crate) fn with_random(self, random: u128) -> Self {
        Self::from_uuid(Uuid::from_u128(
            self.0.as_u128() & !RANDOM_MASK | random & RANDOM_MASK,
        ))
    }

    /// Returns the id of the event at this index (from 0) in the commit.
    pub fn event(self, index: usize) -> EventId {
        let ordinal = u128::try_from(index)
            .unwrap_or(ORDINAL_MASK)
            .saturating_add(1);
        EventId(Uuid::from_u128(self.0.as_u128() | (ordinal & ORDINAL_MASK)))
    }
}

impl EventId {
    /// Creates the event id that is stored as `id`.
    pub const fn from_uuid(id: Uuid) -> Self {
        Self(id)
    }

    /// Returns the id as a UUID.
    pub const fn as_uuid(self) -> Uuid {
        self.0
    }

    /// Returns the id of the commit that the event is part of.
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
