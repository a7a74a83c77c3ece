//! The cost of `execute` on SQLite for one client: rounds of transfers alternate with rounds of bare commits of the same
//! rows, so that other load on the machine affects both alike. Prints the medians and their ratio.
#![allow(missing_docs)]

mod bare;
mod domain;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eventcore::sqlite::SqliteEventStore;

const ROUNDS: u64 = 60;
const COMMITS: u32 = 100;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let open = SqliteEventStore::open(folder.path().join("bench.db"));
    let store = Arc::new(runtime.block_on(open).expect("a store"));
    let mut bare = bare::Bare::new();
    let (mut bares, mut executes) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let started = Instant::now();
        (0..COMMITS).for_each(|_| bare.commit());
        bares.push(started.elapsed() / COMMITS);
        let started = Instant::now();
        let commands = u64::from(COMMITS);
        runtime.block_on(domain::clients(
            store.clone(),
            1,
            commands,
            true,
            round << 40,
        ));
        executes.push(started.elapsed() / COMMITS);
    }
    let mut ratios: Vec<f64> = bares
        .iter()
        .zip(&executes)
        .map(|(bare, execute)| execute.as_secs_f64() / bare.as_secs_f64())
        .collect();
    ratios.sort_by(f64::total_cmp);
    println!(
        "bare {:?}, execute {:?}, median of ratios {:.2} (quartiles {:.2} to {:.2})",
        median(bares),
        median(executes),
        ratios[ratios.len() / 2],
        ratios[ratios.len() / 4],
        ratios[ratios.len() * 3 / 4],
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
