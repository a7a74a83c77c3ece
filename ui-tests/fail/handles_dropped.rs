//! The handles of a projection and of a rebuild, which stop when their handle is dropped.

#![deny(unused_must_use)]

use eventcore::{
    EventStore,
    projection::{Projection, ProjectionDatabase, ProjectionRunner},
};

fn start<S, D, P>(runner: ProjectionRunner<S, D, P>, again: ProjectionRunner<S, D, P>)
where
    S: EventStore + Clone + 'static,
    D: ProjectionDatabase,
    P: Projection<D::Transaction>,
{
    runner.start();
    again.start_rebuild();
}

fn main() {}
