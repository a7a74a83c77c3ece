//! A projection whose name is none: it would be part of the names of files and schemas.

use std::convert::Infallible;

use eventcore::{
    RecordedEvent,
    memory::MemoryEventStore,
    projection::{MemoryReadModel, Projection, ProjectionRunner},
};

struct Balances;

impl<Tx: Send> Projection<Tx> for Balances {
    type Feed = RecordedEvent;
    type Error = Infallible;
    const NAME: &'static str = "all/balances";

    async fn apply(
        &self,
        _: RecordedEvent,
        _: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

fn main() {
    let store = std::sync::Arc::new(MemoryEventStore::new());
    let _ = ProjectionRunner::with_database(store, MemoryReadModel::<()>::new(), Balances);
}
