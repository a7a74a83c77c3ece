//! This library, and under it the bare drivers: what one would write by hand.

mod bare;
mod library;

use std::sync::Arc;

use eventcore::{memory::MemoryEventStore, postgres::PostgresEventStore, sqlite::SqliteEventStore};
use workload::{Failure, Parser, Run};

fn main() -> Result<(), Failure> {
    let run = Run::parse();
    workload::runtime()?.block_on(async {
        let file = format!("{}/bank.db", run.target);
        match run.contender.as_str() {
            "eventcore, memory" => run.measure(library::Bank(Arc::new(MemoryEventStore::new()))).await,
            "eventcore, SQLite" => {
                let store = SqliteEventStore::open(file).await?;
                run.measure(library::Bank(Arc::new(store))).await
            }
            "eventcore, PostgreSQL" => {
                let store = PostgresEventStore::connect(&run.target).await?;
                run.measure(library::Bank(Arc::new(store))).await
            }
            "tokio-postgres by hand" => run.measure(bare::Postgres::open(&run.target).await?).await,
            "rusqlite by hand" => run.measure(bare::Sqlite::open(&file)?).await,
            other => Err(format!("no contender `{other}` here").into()),
        }
    })
}
