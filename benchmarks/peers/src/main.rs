//! The peers that share a version of sqlx: eventcore 2.1, cqrs-es, disintegrate.

mod cqrs;
mod disintegrated;
mod original;

use workload::{Failure, Parser, Run};

fn main() -> Result<(), Failure> {
    let run = Run::parse();
    workload::runtime()?.block_on(async {
        let file = format!("{}/bank.db", run.target);
        match run.contender.as_str() {
            "eventcore 2.1, memory" => run.measure(original::Bank(original::memory())).await,
            "eventcore 2.1, SQLite" => run.measure(original::Bank(original::sqlite(&file).await?)).await,
            "eventcore 2.1, PostgreSQL" => {
                let store = original::postgres(&run.target).await?;
                run.measure(original::Bank(store)).await
            }
            "cqrs-es, SQLite" => run.measure(cqrs::sqlite(&file).await?).await,
            "cqrs-es, PostgreSQL" => run.measure(cqrs::postgres(&run.target).await?).await,
            "disintegrate, PostgreSQL" => run.measure(disintegrated::Bank::open(&run.target).await?).await,
            other => Err(format!("no contender `{other}` here").into()),
        }
    })
}
