//! The folding of a stream's state without its type: [`Folding`].

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
};

use super::handle::HandleKey;
use crate::{
    event::{DecodeError, Event, StreamState},
    store::{AnyState, SnapshotKind, StreamEvent},
};

/// The functions that fold, copy and store the states of a kind of streams.
pub(crate) struct Folding {
    /// The types of the events and of the state.
    pub(crate) types: fn() -> TypeId,
    is_unit: fn() -> bool,
    pub(crate) empty: fn() -> AnyState,
    pub(crate) apply: fn(&mut (dyn Any + Send + Sync), &StreamEvent) -> Result<(), DecodeError>,
    /// Returns a copy of a state, if its type can be copied.
    pub(crate) copy: fn(&AnyState) -> Option<AnyState>,
    pub(crate) size: fn(&AnyState) -> usize,
    pub(crate) snapshots: fn() -> Option<Snapshots>,
}

/// The stored form of a kind of states.
pub(crate) struct Snapshots {
    pub(crate) name: &'static str,
    pub(crate) revision: u32,
    pub(crate) every: u64,
    pub(crate) encode: fn(&AnyState) -> serde_json::Result<Vec<u8>>,
    pub(crate) decode: fn(&[u8]) -> serde_json::Result<AnyState>,
}

impl Snapshots {
    pub(crate) fn kind(&self) -> SnapshotKind {
        SnapshotKind {
            name: self.name.into(),
            revision: self.revision,
        }
    }
}

impl Folding {
    /// Returns the functions of the streams of a handle's key type.
    pub(crate) fn of<K: HandleKey>() -> &'static Self {
        const {
            &Self {
                types: typeid::of::<(K::Event, K::State)>,
                is_unit: || TypeId::of::<K::State>() == TypeId::of::<()>(),
                empty: || Arc::new(K::State::default()),
                apply: apply::<K::Event, K::State>,
                copy: copy::<K>,
                size: |state| {
                    state
                        .downcast_ref()
                        .map_or(0, <K::State as StreamState<K::Event>>::size_in_memory)
                },
                snapshots: snapshots::<K>,
            }
        }
    }

    /// Returns `true` if the state is `()`, for which no event need be read.
    pub(crate) fn is_unit(&self) -> bool {
        (self.is_unit)()
    }
}

impl fmt::Debug for Folding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folding").finish_non_exhaustive()
    }
}

fn apply<E: Event, S: StreamState<E>>(
    state: &mut (dyn Any + Send + Sync),
    event: &StreamEvent,
) -> Result<(), DecodeError> {
    let event = event.decode()?;
    if let Some(state) = state.downcast_mut::<S>() {
        state.apply(event);
    }
    Ok(())
}

/// Copies a state through its stored form if it is not `Clone`.
fn copy<K: HandleKey>(state: &AnyState) -> Option<AnyState> {
    let state = state.downcast_ref::<K::State>()?;
    let options = K::state_options();
    if let Some(copy) = options.copy {
        return Some(Arc::new(copy(state)));
    }
    let codec = options.snapshots?;
    let copied = (codec.encode)(state).and_then(|json| (codec.decode)(&json));
    copied.ok().map(|state| -> AnyState { Arc::new(state) })
}

fn snapshots<K: HandleKey>() -> Option<Snapshots> {
    let codec = K::state_options().snapshots?;
    Some(Snapshots {
        name: codec.name,
        revision: codec.revision,
        every: codec.every,
        encode: |state| match (state.downcast_ref(), K::state_options().snapshots) {
            (Some(state), Some(codec)) => (codec.encode)(state),
            _ => Ok(Vec::new()),
        },
        decode: |json| match K::state_options().snapshots {
            Some(codec) => (codec.decode)(json).map(|state| -> AnyState { Arc::new(state) }),
            None => Ok(Arc::new(K::State::default())),
        },
    })
}
