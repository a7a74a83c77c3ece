//! Snapshots: states of streams that a store keeps, so that a new process need not fold them from
//! the start.
//!
//! A snapshot is a copy that may be lost at any time. It counts only for its revision and while the
//! stream has the event that it covers last; otherwise it is ignored, and replaced by the next one.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use super::{StreamHead, state_cache::AnyState};
use crate::stream::StreamId;

/// The largest state of which a snapshot is kept, in bytes of JSON.
pub const MAX_SNAPSHOT_BYTES: usize = 64 * 1024 * 1024;

/// The kind of state that a snapshot holds, and its revision.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotKind {
    /// The name of the state, unique among the states of one stream.
    pub name: Arc<str>,
    /// The revision of the state's form and of its `apply`.
    pub revision: u32,
}

/// A stored state of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event that the state covers.
    pub head: StreamHead,
    /// The state, as JSON.
    pub state: Bytes,
}

/// A snapshot to be stored. The state is encoded only when [`encode`](Self::encode) is called, which
/// a store does apart from the command.
pub struct NewSnapshot {
    pub(crate) stream: StreamId,
    pub(crate) kind: SnapshotKind,
    pub(crate) head: StreamHead,
    pub(crate) state: AnyState,
    pub(crate) encode: fn(&AnyState) -> serde_json::Result<Vec<u8>>,
}

impl NewSnapshot {
    /// Returns the stream of the state.
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// Returns the kind of the state.
    pub fn kind(&self) -> &SnapshotKind {
        &self.kind
    }

    /// Encodes the state. Returns `None` if that fails or if the state is larger than
    /// [`MAX_SNAPSHOT_BYTES`], and logs a warning.
    pub fn encode(&self) -> Option<Snapshot> {
        let (stream, kind) = (&self.stream, &self.kind);
        match (self.encode)(&self.state) {
            Ok(state) if state.len() <= MAX_SNAPSHOT_BYTES => Some(Snapshot {
                head: self.head,
                state: state.into(),
            }),
            Ok(state) => {
                let bytes = state.len();
                tracing::warn!(%stream, state = %kind.name, bytes, "no snapshot is kept: the state is too large");
                None
            }
            Err(error) => {
                tracing::warn!(%stream, state = %kind.name, %error, "no snapshot is kept: the state cannot be encoded");
                None
            }
        }
    }
}

/// A snapshot in its stored form.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) struct EncodedSnapshot {
    pub(crate) stream: StreamId,
    pub(crate) kind: SnapshotKind,
    pub(crate) snapshot: Snapshot,
}

/// Encodes snapshots and passes them to `store`, on a thread for blocking work if there is a tokio
/// runtime, since a state may be large.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn encode_apart(
    snapshots: Vec<NewSnapshot>,
    store: impl FnOnce(Vec<EncodedSnapshot>) + Send + 'static,
) {
    let encode = move || {
        let encoded = snapshots.into_iter().filter_map(|new| {
            let snapshot = new.encode()?;
            let NewSnapshot { stream, kind, .. } = new;
            Some(EncodedSnapshot {
                stream,
                kind,
                snapshot,
            })
        });
        store(encoded.collect());
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(encode)),
        Err(_) => encode(),
    }
}

impl fmt::Debug for NewSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSnapshot")
            .field("stream", &self.stream)
            .field("kind", &self.kind)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}
