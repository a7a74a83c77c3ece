//! The states of the streams that are read: folded as the events arrive, or taken from the cache
//! and brought up to date.
//!
//! A cached state is shared by all commands and loads of the process. It is changed only under its
//! lock, and only from the very event that it covered when the read began. A state that is folded
//! from the start belongs to this reader until it is complete.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, MutexGuard},
};

use crate::{
    Version,
    command::{Folding, Snapshots},
    event::DecodeError,
    panic,
    store::{AnyState, Content, Entry, NewSnapshot, Snapshot, StreamEvent, StreamHead},
    stream::StreamId,
};

/// A state without its type.
pub(super) type State = dyn Any + Send + Sync;

/// The state of a stream for which there is nothing to fold.
static UNIT: () = ();

/// The state of one stream.
pub(super) struct StreamFold {
    folding: &'static Folding,
    /// The shared entry; `None` if the state is not cached.
    entry: Option<Arc<Entry>>,
    from: From,
    /// The number of events folded since the last snapshot, for a state that belongs to this reader.
    unsaved: u64,
    /// `true` if the stored snapshot could not be decoded, so that it is not asked for again.
    without_snapshot: bool,
    /// `true` if the state is not taken from the cache (again).
    is_apart: bool,
}

/// The origin of a state in the current read.
enum From {
    /// Nothing is folded, and no event is read.
    Unit,
    /// The state is folded by this reader.
    Own {
        /// `None` until the first event or the decision.
        state: Option<AnyState>,
        /// The number of changes of the shared entry when the read began.
        changes: u64,
    },
    /// The shared entry covers the events up to `head`, and these are newer.
    Shared {
        head: StreamHead,
        newer: Vec<StreamEvent>,
    },
}

/// The reasons why an event could not be folded.
pub(super) enum Unfolded {
    Unreadable(DecodeError),
    Panicked(String),
}

/// The shared state has been changed by another reader, so that the stream must be read again.
pub(super) struct Moved;

impl StreamFold {
    /// Creates the state of a stream that has not been read. `needs_events` is `true` if the
    /// command folds the events itself, so that they are read from the start.
    pub(super) fn new(folding: &'static Folding, needs_events: bool) -> Self {
        let from = if folding.is_unit() && !needs_events {
            From::Unit
        } else {
            From::Own {
                state: None,
                changes: 0,
            }
        };
        Self {
            folding,
            entry: None,
            from,
            unsaved: 0,
            without_snapshot: needs_events,
            is_apart: needs_events || folding.is_unit(),
        }
    }

    pub(super) fn folding(&self) -> &'static Folding {
        self.folding
    }

    /// Returns `true` if the state could be shared and no entry has been asked for.
    pub(super) fn wants_entry(&self) -> bool {
        self.entry.is_none() && !self.is_apart
    }

    /// Sets the shared entry; `None` if the cache keeps nothing.
    pub(super) fn set_entry(&mut self, entry: Option<Arc<Entry>>) {
        self.is_apart = entry.is_none();
        self.entry = entry;
    }

    /// Returns `true` if only the head of the stream is needed.
    pub(super) fn is_unit(&self) -> bool {
        matches!(self.from, From::Unit)
    }

    /// Begins a read: from the shared state if there is one; else from where the state of this
    /// reader ends if it `goes_on`, or from the start. Returns the last event that the state covers
    /// unless it goes on.
    pub(super) fn begin(&mut self, goes_on: bool) -> Option<StreamHead> {
        let Some(entry) = &self.entry else {
            if !self.is_unit() {
                if goes_on {
                    return None;
                }
                self.restart(0);
            }
            return Some(StreamHead::EMPTY);
        };
        let content = entry.lock();
        let (known, changes) = (content.known(), content.changes);
        drop(content);
        if let Some(head) = known {
            let newer = Vec::new();
            self.from = From::Shared { head, newer };
            return Some(head);
        }
        self.restart(changes);
        Some(StreamHead::EMPTY)
    }

    fn restart(&mut self, changes: u64) {
        self.from = From::Own {
            state: None,
            changes,
        };
        self.unsaved = 0;
    }

    /// Returns the snapshots to look for in the store: only a state that is folded from the start
    /// has a use for one.
    pub(super) fn wanted_snapshot(&self) -> Option<Snapshots> {
        let is_new = matches!(self.from, From::Own { state: None, .. });
        (is_new && !self.without_snapshot)
            .then(self.folding.snapshots)
            .flatten()
    }

    /// Starts from a stored snapshot. Returns `false` if it cannot be decoded: then the stream must
    /// be read again, without it.
    pub(super) fn take_snapshot(&mut self, stream: &StreamId, snapshot: &Snapshot) -> bool {
        let From::Own { state, .. } = &mut self.from else {
            return true;
        };
        let Some(snapshots) = (self.folding.snapshots)() else {
            return false;
        };
        match (snapshots.decode)(&snapshot.state) {
            Ok(decoded) => {
                *state = Some(decoded);
                true
            }
            Err(error) => {
                tracing::warn!(
                    %stream, state = snapshots.name, %error,
                    "a snapshot is ignored: it cannot be decoded; was its revision forgotten?"
                );
                self.without_snapshot = true;
                false
            }
        }
    }

    /// Forgets a shared state that the store does not know, and starts over.
    pub(super) fn forget(&mut self) {
        let From::Shared { head, .. } = &self.from else {
            return;
        };
        let Some(entry) = &self.entry else {
            return;
        };
        let mut content = entry.lock();
        if content.known() == Some(*head) {
            content.clear();
        }
    }

    /// Stops sharing: the state is folded by this reader alone.
    pub(super) fn keep_apart(&mut self) {
        self.entry = None;
        self.is_apart = true;
    }

    /// Adds a newer event of the stream, which is folded at once or kept.
    pub(super) fn add(&mut self, event: StreamEvent) -> Result<(), (StreamEvent, Unfolded)> {
        match &mut self.from {
            From::Unit => Ok(()),
            From::Shared { newer, .. } => {
                newer.push(event);
                Ok(())
            }
            From::Own { state, .. } => {
                if self.folding.is_unit() {
                    return Ok(());
                }
                self.unsaved += 1;
                let own = state.get_or_insert_with(self.folding.empty);
                match fold(self.folding, own, std::slice::from_ref(&event)) {
                    Ok(()) => Ok(()),
                    Err((_, why)) => {
                        *state = None;
                        Err((event, why))
                    }
                }
            }
        }
    }

    /// Takes the shared state over if there are more newer events than one page holds, so that they
    /// need not all be kept.
    pub(super) fn take_over(&mut self) -> Result<(), Settling> {
        let From::Shared { head, newer } = &mut self.from else {
            return Ok(());
        };
        let Some(entry) = &self.entry else {
            return Ok(());
        };
        let mut content = entry.lock();
        if content.known() != Some(*head) {
            return Err(Settling::Moved);
        }
        let newer = mem::take(newer);
        let (mut state, unsaved) = take_out(self.folding, &mut content)?;
        let changes = content.changes;
        drop(content);
        self.unsaved = unsaved + fold_newer(self.folding, &mut state, newer)?;
        self.from = From::Own {
            state: Some(state),
            changes,
        };
        Ok(())
    }

    /// Returns the shared entry, to be locked.
    pub(super) fn entry(&self) -> Option<Arc<Entry>> {
        self.entry.clone()
    }

    /// Brings the state up to `head`, where the read has ended. A state of this reader becomes the
    /// shared one, unless another reader has changed that meanwhile.
    pub(super) fn settle(
        &mut self,
        head: StreamHead,
        shared: Option<(&Entry, &mut Content)>,
    ) -> Result<(), Settling> {
        if self.folding.is_unit() {
            return Ok(());
        }
        match (&mut self.from, shared) {
            (From::Unit, _) => Ok(()),
            (From::Own { state, changes }, shared) => {
                let own = state.get_or_insert_with(self.folding.empty);
                if let Some((entry, content)) = shared
                    && content.changes == *changes
                {
                    entry.set_bytes((self.folding.size)(own));
                    let own = own.clone();
                    content.set(own, head, self.unsaved);
                    let newer = Vec::new();
                    self.from = From::Shared { head, newer };
                }
                Ok(())
            }
            (From::Shared { .. }, None) => Err(Settling::Moved),
            (From::Shared { head: from, newer }, Some((entry, content))) => {
                match content.known() {
                    Some(known) if known == head => {
                        newer.clear();
                        *from = head;
                        return Ok(());
                    }
                    Some(known) if known == *from => {}
                    _ => return Err(Settling::Moved),
                }
                let newer = mem::take(newer);
                *from = head;
                let (mut state, unsaved) = take_out(self.folding, content)?;
                let unsaved = unsaved + fold_newer(self.folding, &mut state, newer)?;
                entry.set_bytes((self.folding.size)(&state));
                content.set(state, head, unsaved);
                Ok(())
            }
        }
    }

    /// Returns the settled state, which is the reader's own or the shared one.
    pub(super) fn state<'s>(&'s self, shared: Option<&'s MutexGuard<'_, Content>>) -> &'s State {
        self.any_state(shared).map_or(&UNIT, |state| &**state)
    }

    /// Returns the settled state in its shared form; `None` for a unit.
    pub(super) fn any_state<'s>(
        &'s self,
        shared: Option<&'s MutexGuard<'_, Content>>,
    ) -> Option<&'s AnyState> {
        match &self.from {
            From::Own { state, .. } => state.as_ref(),
            _ => shared.and_then(|content| content.state.as_ref()),
        }
    }

    /// Returns a snapshot of the settled state if it is due.
    pub(super) fn snapshot(&self, stream: &StreamId, content: &mut Content) -> Option<NewSnapshot> {
        if content.unsaved == 0 {
            return None;
        }
        let snapshots = (self.folding.snapshots)()?;
        if content.unsaved < snapshots.every || content.head.version() == Version::EMPTY {
            return None;
        }
        content.unsaved = 0;
        Some(NewSnapshot {
            stream: stream.clone(),
            kind: snapshots.kind(),
            head: content.head,
            state: content.state.clone()?,
            encode: snapshots.encode,
        })
    }
}

/// The reasons why a state could not be brought up to date.
pub(super) enum Settling {
    /// Another reader has changed the shared state; read the stream again.
    Moved,
    Unfolded {
        event: StreamEvent,
        why: Unfolded,
    },
}

/// Takes the state out of its entry, and a copy if it is in use. Returns it with the number of
/// events folded since the last snapshot.
fn take_out(folding: &Folding, content: &mut Content) -> Result<(AnyState, u64), Settling> {
    let (state, unsaved) = (content.state.take(), content.unsaved);
    content.clear();
    let state = state.and_then(|state| unshared(folding, state));
    state.map(|state| (state, unsaved)).ok_or(Settling::Moved)
}

/// Folds the newer events of a state, and returns their number.
fn fold_newer(
    folding: &Folding,
    state: &mut AnyState,
    newer: Vec<StreamEvent>,
) -> Result<u64, Settling> {
    match fold(folding, state, &newer) {
        Ok(()) => Ok(u64::try_from(newer.len()).unwrap_or(u64::MAX)),
        Err((index, why)) => Err(match newer.into_iter().nth(index) {
            Some(event) => Settling::Unfolded { event, why },
            None => Settling::Moved,
        }),
    }
}

/// Returns a state that nobody else holds: itself, or a copy. A state that is in use and cannot be
/// copied is lost.
fn unshared(folding: &Folding, mut state: AnyState) -> Option<AnyState> {
    match Arc::get_mut(&mut state) {
        Some(_) => Some(state),
        None => (folding.copy)(&state),
    }
}

/// Folds events into a state that nobody else holds. Returns the index of the event that could not
/// be folded; the state is unusable then.
fn fold(
    folding: &Folding,
    state: &mut AnyState,
    events: &[StreamEvent],
) -> Result<(), (usize, Unfolded)> {
    let Some(state) = Arc::get_mut(state) else {
        return Ok(());
    };
    let mut at = 0;
    let folded = catch_unwind(AssertUnwindSafe(|| {
        for event in events {
            (folding.apply)(state, event)?;
            at += 1;
        }
        Ok(())
    }));
    match folded {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err((at, Unfolded::Unreadable(error))),
        Err(payload) => {
            let message = panic::message(&*payload).unwrap_or("a panic without a message");
            Err((at, Unfolded::Panicked(message.to_owned())))
        }
    }
}
