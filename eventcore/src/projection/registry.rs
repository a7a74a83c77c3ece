//! A registry of the projections that run in this process, to detect two different ones with the
//! same name.

use std::{
    any::{TypeId, type_name},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

static RUNNING: Mutex<Vec<Running>> = Mutex::new(Vec::new());

#[derive(Clone, PartialEq)]
struct Running {
    name: &'static str,
    /// The name of the runner as a leader.
    instance: Arc<str>,
    projection: TypeId,
    type_name: &'static str,
}

fn running() -> MutexGuard<'static, Vec<Running>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a live projection of this process until dropped.
pub(super) struct Registered(Option<Running>);

impl Registered {
    /// Registers a projection. A rebuild is not registered: it has its own lease, and may use the
    /// next version's type.
    pub(super) fn new<P: 'static>(
        name: &'static str,
        instance: &Arc<str>,
        is_rebuild: bool,
    ) -> Self {
        let entry = (!is_rebuild).then(|| Running {
            name,
            instance: instance.clone(),
            projection: TypeId::of::<P>(),
            type_name: type_name::<P>(),
        });
        running().extend(entry.clone());
        Self(entry)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut running = running();
        let own = self.0.as_ref();
        if let Some(index) = running.iter().position(|entry| Some(entry) == own) {
            running.swap_remove(index);
        }
    }
}

/// Returns the type of the projection that `leader` runs in this process under this name, if it is not `P`.
pub(super) fn other<P: 'static>(name: &str, leader: &str) -> Option<&'static str> {
    let is_leader = |entry: &&Running| entry.name == name && &*entry.instance == leader;
    let running = running();
    let mut entries = running.iter().filter(is_leader).peekable();
    let other = entries.peek()?.type_name;
    let is_own = entries.any(|entry| entry.projection == TypeId::of::<P>());
    (!is_own).then_some(other)
}
