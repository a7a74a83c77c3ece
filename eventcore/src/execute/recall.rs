//! The connection between the pipeline, which starts from a state and returns one, and the cache,
//! which holds states of any type.

use super::ReadStep;
use crate::{
    command::{CommandLogic, Folded},
    store::StateCache,
};

/// Starts the command from the state that an earlier one has cached, if there is one.
pub(crate) fn recall<C: CommandLogic>(
    states: Option<&StateCache>,
    read: ReadStep<C>,
) -> ReadStep<C> {
    let (Some(caching), Some(states)) = (C::caching(), states) else {
        return read;
    };
    let Some(key) = read.recalls() else {
        return read;
    };
    match states.get(&key).and_then(|kept| caching.find(kept)) {
        Some(folded) => read.recall(folded),
        None => read,
    }
}

/// Caches the state that the command returned, for the next one.
pub(crate) fn remember<C: CommandLogic>(
    states: Option<&StateCache>,
    folded: Option<Folded<C::State>>,
) {
    if let (Some(caching), Some(states), Some(folded)) = (C::caching(), states, folded) {
        states.put(folded.key().clone(), caching.keep(folded));
    }
}
