//! The state of a stream, folded from its events: [`StreamState`], [`StateOptions`].

use std::{fmt, marker::PhantomData};

use serde::{Serialize, de::DeserializeOwned};

/// The state of one stream: what its events amount to, written once and used by every command.
///
/// A [`StreamKey`](crate::StreamKey) names the state of its streams. Commands see it through their
/// handles (`streams.account.balance`), and [`load`](crate::load()) returns it without a command. It
/// starts as its default and folds each event of its stream once, in order. Since it sees nothing
/// else, a folded state is valid for every command; stores cache it, and can keep snapshots of it.
///
/// ```
/// # #[cfg(feature = "macros")] {
/// use eventcore::{Event, StreamKey, StreamState};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Event)]
/// enum AccountEvent { Opened, Deposited { amount: u64 } }
///
/// #[derive(Default)]
/// struct Account { balance: u64 }
///
/// impl StreamState<AccountEvent> for Account {
///     fn apply(&mut self, event: AccountEvent) {
///         match event {
///             AccountEvent::Opened => {}
///             AccountEvent::Deposited { amount } => self.balance += amount,
///         }
///     }
/// }
///
/// #[derive(StreamKey)]
/// #[stream_key(category = "account", event = AccountEvent, state = Account)]
/// struct AccountId(String);
/// # }
/// ```
///
/// The unit type is the state of a stream whose events no command needs: they are not read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a state that can be folded from `{E}`",
    label = "this type does not say how the event changes it",
    note = "write `impl StreamState<{E}> for {Self} {{ fn apply(&mut self, event: {E}) {{ … }} }}`, and derive `Default` for it"
)]
pub trait StreamState<E>: Default + Send + Sync + 'static {
    /// Folds the next event of the stream into the state.
    ///
    /// It must be pure, like [`CommandLogic`](crate::CommandLogic): no I/O, no clock and no
    /// randomness. If it panics, the command fails with
    /// [`CommandError::StatePanicked`](crate::CommandError::StatePanicked), and the state is dropped.
    fn apply(&mut self, event: E);

    /// Returns an estimate of the memory that the state uses, in bytes, by which the cache is
    /// bounded. The default counts the type itself, without what it points to; override it for a
    /// state that can become large.
    fn size_in_memory(&self) -> usize {
        size_of::<Self>()
    }
}

impl<E> StreamState<E> for () {
    fn apply(&mut self, _: E) {}
}

/// The number of events after which a new snapshot is taken, unless a key says otherwise.
const DEFAULT_EVERY: u64 = 500;

/// The copying and storing of a key's states, both optional. [`StreamKey::state_options`](crate::StreamKey::state_options) returns it.
///
/// ```
/// use eventcore::StateOptions;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Default, Serialize, Deserialize)]
/// struct Account { balance: u64 }
///
/// let options = StateOptions::<Account>::cloned().snapshots("Account", 1).every(100);
/// # let _ = options;
/// ```
pub struct StateOptions<S> {
    pub(crate) copy: Option<fn(&S) -> S>,
    pub(crate) snapshots: Option<SnapshotCodec<S>>,
}

/// The stored form of states of type `S`.
pub(crate) struct SnapshotCodec<S> {
    pub(crate) name: &'static str,
    pub(crate) revision: u32,
    pub(crate) every: u64,
    pub(crate) encode: fn(&S) -> serde_json::Result<Vec<u8>>,
    pub(crate) decode: fn(&[u8]) -> serde_json::Result<S>,
}

impl<S> StateOptions<S> {
    /// Creates options without copies and snapshots: a state that is in use when its stream has new
    /// events is folded again from the start.
    pub const fn new() -> Self {
        Self {
            copy: None,
            snapshots: None,
        }
    }

    /// Creates options by which a state that is in use is cloned when its stream has new events.
    pub fn cloned() -> Self
    where
        S: Clone,
    {
        Self {
            copy: Some(S::clone),
            snapshots: None,
        }
    }

    /// Keeps snapshots of the states in the store, so that a new process need not fold long streams
    /// from the start. `name` names the kind of state, in one category, and `revision` its form and
    /// meaning: raise it with every change of the type or of its `apply`, so that older snapshots
    /// are ignored.
    pub fn snapshots(self, name: &'static str, revision: u32) -> Self
    where
        S: Serialize + DeserializeOwned,
    {
        let snapshots = SnapshotCodec {
            name,
            revision,
            every: DEFAULT_EVERY,
            encode: |state| serde_json::to_vec(state),
            decode: |json| serde_json::from_slice(json),
        };
        Self {
            snapshots: Some(snapshots),
            ..self
        }
    }

    /// Sets the number of events after which a new snapshot is taken; 500 by default.
    pub fn every(mut self, events: u64) -> Self {
        if let Some(snapshots) = &mut self.snapshots {
            snapshots.every = events;
        }
        self
    }
}

impl<S> Default for StateOptions<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for StateOptions<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshots = self.snapshots.as_ref();
        f.debug_struct("StateOptions")
            .field("is_cloned", &self.copy.is_some())
            .field(
                "snapshots",
                &snapshots.map(|codec| (codec.name, codec.revision, codec.every)),
            )
            .finish()
    }
}

/// Chooses the options of a state type by whether it is `Clone`. The method of the type itself is
/// preferred where its bound holds, and the one of [`NotCloned`] is used otherwise.
#[doc(hidden)]
#[derive(Debug)]
pub struct IfCloned<S>(PhantomData<fn(S)>);

impl<S> IfCloned<S> {
    pub const NEW: Self = Self(PhantomData);
}

impl<S: Clone> IfCloned<S> {
    pub fn eventcore_state_options(self) -> StateOptions<S> {
        StateOptions::cloned()
    }
}

#[doc(hidden)]
pub trait NotCloned<S>: Sized {
    fn eventcore_state_options(self) -> StateOptions<S> {
        StateOptions::new()
    }
}

impl<S> NotCloned<S> for IfCloned<S> {}
