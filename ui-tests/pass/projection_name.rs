//! The longest name of a projection, with every kind of character that it may have.

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
    const NAME: &'static str = "All_balances-of-2026_and-then-some-more-up-to-63-characters---x";

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
