//! [`load`], which reads the states of streams without a command.

use std::{any::TypeId, fmt, ops::Deref, sync::Arc};

use super::{
    reading::{FoldError, Reading, Unread},
    states::Unfolded,
};
use crate::{
    Position, Version,
    command::Folding,
    event::{DecodeError, StreamKey},
    store::{AnyState, EventStore, EventStoreError, StateCache},
    stream::{StreamId, StreamIdError},
};

/// Returns the current states of streams, all from one snapshot of the store, in one round trip.
///
/// `keys` is a reference to a [key](StreamKey), to a `Vec` or a slice of keys, or a tuple of these.
/// A state that is cached in the process is brought up to date instead of being folded from the
/// start; it is never returned without asking the store.
///
/// # Errors
/// Returns [`LoadError`] if the store cannot be read, a key names no stream, or an event cannot be
/// folded.
///
/// ```
/// # #[cfg(feature = "macros")] {
/// use eventcore::{Event, StreamKey, StreamState, load, memory::MemoryEventStore};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { amount: u64 } }
///
/// #[derive(Default)]
/// struct Account { balance: u64 }
/// # impl StreamState<AccountEvent> for Account {
/// #     fn apply(&mut self, AccountEvent::Deposited { amount }: AccountEvent) { self.balance += amount; }
/// # }
///
/// #[derive(StreamKey)]
/// #[stream_key(category = "account", event = AccountEvent, state = Account)]
/// struct AccountId(String);
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryEventStore::new();
/// let (ada, bob) = (AccountId("ada".into()), AccountId("bob".into()));
/// let account = load(&store, &ada).await?;
/// println!("{} at version {}", account.balance, account.version());
/// let (ada, bob) = load(&store, (&ada, &bob)).await?;
/// assert!(!ada.exists() && ada.position() == bob.position());
/// # Ok::<(), eventcore::LoadError>(())
/// # }).unwrap();
/// # }
/// ```
pub async fn load<K, S>(store: &S, keys: K) -> Result<K::Loaded, LoadError>
where
    K: LoadKeys,
    S: EventStore + ?Sized,
{
    read(store, keys, None).await
}

/// Returns the states that streams had when the store's latest event was the one at `position`.
///
/// See [`load`] for the keys. These states are folded from the start or from a snapshot.
///
/// # Errors
/// Returns [`LoadError`] like [`load`], and [`LoadError::NotYet`] if the store has no event at
/// `position`.
pub async fn load_at<K, S>(store: &S, keys: K, position: Position) -> Result<K::Loaded, LoadError>
where
    K: LoadKeys,
    S: EventStore + ?Sized,
{
    read(store, keys, Some(position)).await
}

async fn read<K, S>(store: &S, keys: K, at: Option<Position>) -> Result<K::Loaded, LoadError>
where
    K: LoadKeys,
    S: EventStore + ?Sized,
{
    let mut wanted = Wanted::default();
    keys.want(&mut wanted)?;
    let mut reading = Reading::at(at);
    reading.add(wanted.streams);
    let cache = store.states().filter(|_| at.is_none());
    let states = settled(store, &mut reading, cache).await?;
    if let Some(position) = at
        && reading.snapshot() < position
    {
        let latest = reading.snapshot();
        return Err(LoadError::NotYet { position, latest });
    }
    let snapshots = reading.take_snapshots();
    if !snapshots.is_empty() {
        store.keep_snapshots(snapshots);
    }
    let mut found = Found {
        states,
        indices: wanted.indices,
        next: 0,
        position: reading.snapshot(),
    };
    Ok(keys.take(&mut found))
}

/// Reads the streams to their ends, and returns their states and versions.
async fn settled<S: EventStore + ?Sized>(
    store: &S,
    reading: &mut Reading,
    cache: Option<&StateCache>,
) -> Result<Vec<(AnyState, Version)>, LoadError> {
    loop {
        if let Some(cache) = cache {
            reading.share(cache);
        }
        let page = store.read_streams(reading.request(None)).await?;
        let taken = reading.take(&page).and_then(|complete| {
            reading.fold(page.events, complete)?;
            Ok(complete)
        });
        match taken {
            Ok(false) => continue,
            Ok(true) => {}
            Err(Unread::Again) => {
                reading.read_again();
                continue;
            }
            Err(Unread::Store(error)) => return Err(error.into()),
            Err(Unread::Fold(error)) => return Err(error.into()),
        }
        let entries = reading.entries();
        let Ok(settled) = reading.settle(&entries)? else {
            reading.read_moved();
            continue;
        };
        let states = (0..reading.len()).map(|stream| {
            let state = settled.keep(reading, stream);
            (
                state.unwrap_or_else(|| Arc::new(())),
                reading.version(stream),
            )
        });
        return Ok(states.collect());
    }
}

/// Folds the state of a stream apart from the cache, from a stored snapshot or from all of its
/// events.
#[cfg(feature = "testing")]
pub(crate) async fn fold_apart<S: EventStore + ?Sized>(
    store: &S,
    stream: &StreamId,
    folding: &'static Folding,
    from_snapshot: bool,
) -> Result<AnyState, LoadError> {
    let mut reading = Reading::new(!from_snapshot);
    reading.add([(stream.clone(), folding)]);
    let states = settled(store, &mut reading, None).await?;
    let state = states.into_iter().next();
    Ok(state.map_or_else(folding.empty, |(state, _)| state))
}

/// The state of a stream, as [`load`] found it. It dereferences to the state.
///
/// While it is alive, the process keeps this state beside the current one; drop it soon.
pub struct Loaded<S> {
    state: Arc<S>,
    version: Version,
    position: Position,
}

impl<S> Loaded<S> {
    /// Returns the state.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// Returns the version of the stream: the number of its events.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the position of the store's latest event when the state was read. All states of one
    /// [`load`] have the same.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns `true` if the stream has any event. The state of a stream without events is the
    /// default.
    pub fn exists(&self) -> bool {
        self.version > Version::EMPTY
    }
}

impl<S> Deref for Loaded<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> Clone for Loaded<S> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            ..*self
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Loaded<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("state", &self.state)
            .field("version", &self.version)
            .field("position", &self.position)
            .finish()
    }
}

/// Keys of streams for [`load`]: a reference to a key, to a `Vec` or a slice of keys, or a tuple of
/// up to eight of these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name streams to load",
    label = "not a reference to a key, to a `Vec` or a slice of keys, or a tuple of these",
    note = "write `load(&store, &key)`, `load(&store, &keys)` or `load(&store, (&one, &other))`"
)]
pub trait LoadKeys: sealed::Sealed {
    /// The result: a [`Loaded`] for a key, a `Vec` of them for several, a tuple for a tuple.
    type Loaded;

    /// Adds the streams.
    #[doc(hidden)]
    fn want(&self, wanted: &mut Wanted) -> Result<(), LoadError>;

    /// Takes the states of the streams, in the same order.
    #[doc(hidden)]
    fn take(&self, found: &mut Found) -> Self::Loaded;
}

mod sealed {
    use crate::event::StreamKey;

    pub trait Sealed {}

    impl<K: StreamKey> Sealed for &K {}
    impl<K: StreamKey> Sealed for &[K] {}
    impl<K: StreamKey> Sealed for &Vec<K> {}
}

/// The streams to load.
#[derive(Default)]
pub struct Wanted {
    streams: Vec<(StreamId, &'static Folding)>,
    /// For each key, the index of its stream.
    indices: Vec<usize>,
}

impl Wanted {
    fn add<K: StreamKey>(&mut self, key: &K) -> Result<(), LoadError> {
        let (stream, folding) = (key.stream_id()?, Folding::of::<K>());
        let types = |folding: &Folding| -> TypeId { (folding.types)() };
        let same = |(other, _): &(StreamId, &'static Folding)| *other == stream;
        let index = self.streams.iter().position(same);
        match index.and_then(|index| self.streams.get(index)) {
            Some((_, other)) if types(other) != types(folding) => {
                return Err(LoadError::TwoStates { stream });
            }
            Some(_) => {}
            None => self.streams.push((stream, folding)),
        }
        let index = index.unwrap_or(self.streams.len() - 1);
        self.indices.push(index);
        Ok(())
    }
}

/// The states that were found.
pub struct Found {
    states: Vec<(AnyState, Version)>,
    indices: Vec<usize>,
    next: usize,
    position: Position,
}

impl Found {
    fn take<K: StreamKey>(&mut self) -> Loaded<K::State> {
        let index = self.indices.get(self.next).copied();
        self.next += 1;
        let found = index.and_then(|index| self.states.get(index));
        let state = found.and_then(|(state, _)| state.clone().downcast().ok());
        Loaded {
            state: state.unwrap_or_default(),
            version: found.map_or(Version::EMPTY, |(_, version)| *version),
            position: self.position,
        }
    }
}

impl<K: StreamKey> LoadKeys for &K {
    type Loaded = Loaded<K::State>;

    fn want(&self, wanted: &mut Wanted) -> Result<(), LoadError> {
        wanted.add(*self)
    }

    fn take(&self, found: &mut Found) -> Self::Loaded {
        found.take::<K>()
    }
}

impl<K: StreamKey> LoadKeys for &[K] {
    type Loaded = Vec<Loaded<K::State>>;

    fn want(&self, wanted: &mut Wanted) -> Result<(), LoadError> {
        self.iter().try_for_each(|key| wanted.add(key))
    }

    fn take(&self, found: &mut Found) -> Self::Loaded {
        self.iter().map(|_| found.take::<K>()).collect()
    }
}

impl<K: StreamKey> LoadKeys for &Vec<K> {
    type Loaded = Vec<Loaded<K::State>>;

    fn want(&self, wanted: &mut Wanted) -> Result<(), LoadError> {
        self.as_slice().want(wanted)
    }

    fn take(&self, found: &mut Found) -> Self::Loaded {
        self.as_slice().take(found)
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: LoadKeys),+> sealed::Sealed for ($($name,)+) {}

        #[allow(non_snake_case, reason = "the names of the types serve as those of the values")]
        impl<$($name: LoadKeys),+> LoadKeys for ($($name,)+) {
            type Loaded = ($($name::Loaded,)+);

            fn want(&self, wanted: &mut Wanted) -> Result<(), LoadError> {
                let ($($name,)+) = self;
                $($name.want(wanted)?;)+
                Ok(())
            }

            fn take(&self, found: &mut Found) -> Self::Loaded {
                let ($($name,)+) = self;
                ($($name.take(found),)+)
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

/// The error for states that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The store failed.
    #[error("the store could not be read")]
    EventStoreError(#[from] EventStoreError),
    /// A key does not form a stream id.
    #[error("a key names no stream")]
    InvalidStreamId(#[from] StreamIdError),
    /// Two keys name one stream and give it different states.
    #[error(
        "stream `{stream}` is loaded with two types of state at once; load it twice, once for each"
    )]
    TwoStates {
        /// The stream.
        stream: StreamId,
    },
    /// A stored event cannot be read. Such an event is never skipped.
    #[error(
        "event {version} of stream `{stream}` (position {position}, type `{type_name}`) cannot be read"
    )]
    UnreadableEvent {
        /// The stream.
        stream: StreamId,
        /// The version of the event.
        version: Version,
        /// The position of the event.
        position: Position,
        /// The stored name of the event.
        type_name: String,
        /// The reason.
        source: DecodeError,
    },
    /// [`StreamState::apply`](crate::StreamState::apply) panicked.
    #[error(
        "the state of stream `{stream}` panicked when event {version} was applied to it (position {position}, type \
         `{type_name}`): {message}"
    )]
    StatePanicked {
        /// The stream.
        stream: StreamId,
        /// The version of the event.
        version: Version,
        /// The position of the event.
        position: Position,
        /// The stored name of the event.
        type_name: String,
        /// The message of the panic.
        message: String,
    },
    /// The store has no event at the position that [`load_at`] was called with.
    #[error(
        "there is no event at position {position} yet: the latest one is at {latest}; wait for it, or load the current state"
    )]
    NotYet {
        /// The requested position.
        position: Position,
        /// The position of the store's latest event.
        latest: Position,
    },
}

impl From<Box<FoldError>> for LoadError {
    fn from(error: Box<FoldError>) -> Self {
        let FoldError { stream, event, why } = *error;
        let (version, position) = (event.version, event.position);
        let type_name = event.type_name.to_string();
        match why {
            Unfolded::Unreadable(source) => Self::UnreadableEvent {
                stream,
                version,
                position,
                type_name,
                source,
            },
            Unfolded::Panicked(message) => Self::StatePanicked {
                stream,
                version,
                position,
                type_name,
                message,
            },
        }
    }
}
