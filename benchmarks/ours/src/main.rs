//! This library, and handwritten code on the bare drivers.

mod bare;
mod library;

use std::sync::Arc;

use eventcore::{EventStore, memory::MemoryEventStore, postgres::PostgresEventStore, sqlite::SqliteEventStore};
use workload::{Failure, Parser, Run};

fn main() -> Result<(), Failure> {
    let run = Run::parse();
    workload::runtime()?.block_on(async {
        let file = format!("{}/bank.db", run.target);
        let (contender, is_cached) = match run.contender.strip_suffix(", no cache") {
            Some(contender) => (contender, false),
            None => (run.contender.as_str(), true),
        };
        let store: Arc<dyn EventStore> = match contender {
            "eventcore, memory" => Arc::new(MemoryEventStore::new()),
            "eventcore, SQLite" => Arc::new(SqliteEventStore::open(file).await?),
            "eventcore, PostgreSQL" => Arc::new(PostgresEventStore::connect(&run.target).await?),
            "tokio-postgres by hand" => return run.measure(bare::Postgres::open(&run.target).await?).await,
            "rusqlite by hand" => return run.measure(bare::Sqlite::open(&file)?).await,
            other => return Err(format!("no contender `{other}` here").into()),
        };
        if let (false, Some(states)) = (is_cached, store.states()) {
            states.set_capacity(0);
        }
        run.measure(library::Bank { store }).await
    })
}
