//! Cached states of commands: [`CachedCommand`], [`Folded`].
//!
//! This file knows how a state is copied and told apart from others, not where it is kept.

use std::{any::TypeId, fmt, sync::Arc};

use super::CommandLogic;
use crate::store::{AnyState, StateKey, StreamHead};

/// A command whose folded state is remembered in the process, so that the next one with the same streams reads what is
/// new only. `#[command(cached)]` implements it.
///
/// The command promises that its `apply` looks at no field but those of its streams: the state that one command has
/// folded, another one with other values goes on from. `eventcore::testing::given` finds out who breaks the promise.
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
    /// The states of a command are remembered.
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

/// A state, and the events that it was folded from: all of some streams up to the head that each had then.
pub struct Folded<S> {
    pub(crate) key: StateKey,
    pub(crate) state: S,
    /// Of each stream, in the order of the declarations.
    pub(crate) heads: Vec<StreamHead>,
}

impl<S> Folded<S> {
    /// Under which it is kept: the command and its streams.
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
