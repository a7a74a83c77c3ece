//! Cached command states: [`CachedCommand`], [`Folded`].
//!
//! This file defines how a state is copied and identified, not where it is kept.

use std::{any::TypeId, fmt, sync::Arc};

use super::CommandLogic;
use crate::store::{AnyState, StateKey, StreamHead};

/// A command whose folded state is cached in the process, so that the next command with the same
/// streams reads only newer events. `#[command(cached)]` implements it.
///
/// The command promises that its `apply` uses no fields other than those of its streams: a command
/// with other values continues from the same folded state. `eventcore::testing::given` detects
/// commands that break the promise.
#[diagnostic::on_unimplemented(
    message = "the state of `{Self}` is not remembered",
    note = "write `#[command(cached)]` above the struct"
)]
pub trait CachedCommand: CommandLogic<State: Clone + Send + Sync + 'static> + 'static {}

type Find<S> = fn(AnyState) -> Option<Arc<Folded<S>>>;

/// The functions that cache states of type `S`. See [`CommandStreams::caching`](super::CommandStreams::caching).
pub struct Caching<S> {
    command: TypeId,
    clone: fn(&S) -> S,
    keep: fn(Folded<S>) -> AnyState,
    find: Find<S>,
}

impl<S> Caching<S> {
    /// Returns the functions that cache the states of the command `C`.
    pub fn of<C: CachedCommand<State = S>>() -> Self {
        Self {
            command: TypeId::of::<C>(),
            clone: C::State::clone,
            keep: |folded| Arc::new(folded),
            find: |kept| kept.downcast().ok(),
        }
    }

    pub(crate) fn command(&self) -> TypeId {
        self.command
    }

    pub(crate) fn copy(&self, state: &S) -> S {
        (self.clone)(state)
    }

    pub(crate) fn keep(&self, folded: Folded<S>) -> AnyState {
        (self.keep)(folded)
    }

    pub(crate) fn find(&self, kept: AnyState) -> Option<Arc<Folded<S>>> {
        (self.find)(kept)
    }
}

impl<S> Clone for Caching<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Caching<S> {}

impl<S> fmt::Debug for Caching<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caching").finish_non_exhaustive()
    }
}

/// A folded state, which covers all events of its streams up to the head that each had at the time.
pub struct Folded<S> {
    pub(crate) key: StateKey,
    pub(crate) state: S,
    /// The head of each stream, in the order of the declarations.
    pub(crate) heads: Vec<StreamHead>,
}

impl<S> Folded<S> {
    /// Returns the key under which the state is cached: the command and its streams.
    pub fn key(&self) -> &StateKey {
        &self.key
    }
}

impl<S> fmt::Debug for Folded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folded")
            .field("streams", &self.key)
            .field("heads", &self.heads)
            .finish_non_exhaustive()
    }
}
