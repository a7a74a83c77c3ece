//! What a durable command costs: `execute` on SQLite by 1 to 512 clients, against a bare `rusqlite` insert-and-commit of
//! the same rows in the same run.
#![allow(missing_docs)]

mod bare;
mod domain;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventcore::sqlite::SqliteEventStore;

fn bare(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    group.bench_function("bare rusqlite, the same rows", |b| {
        let mut bare = bare::Bare::new();
        b.iter(|| bare.commit());
    });
    group.finish();
}

fn clients(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("sqlite");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    for (name, two_streams) in [("two streams", true), ("one stream", false)] {
        for clients in [1, 8, 64, 512] {
            let folder = tempfile::tempdir().expect("a folder");
            let store = runtime
                .block_on(SqliteEventStore::open(folder.path().join("bench.db")))
                .expect("a store");
            let store = Arc::new(store);
            let mut base = 0;
            group.bench_function(BenchmarkId::new(name, clients), |b| {
                b.iter_custom(|commands| {
                    base += 1 << 44;
                    let started = Instant::now();
                    runtime.block_on(domain::clients(
                        store.clone(),
                        clients,
                        commands,
                        two_streams,
                        base,
                    ));
                    started.elapsed()
                });
            });
        }
    }
    group.finish();
}

fn contention(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("sqlite");
    group.sample_size(10);
    group.bench_function("32 tasks x 20 commands on one stream", |b| {
        b.iter(|| {
            let folder = tempfile::tempdir().expect("a folder");
            runtime.block_on(async {
                let store = SqliteEventStore::open(folder.path().join("bench.db"))
                    .await
                    .expect("a store");
                domain::contend(Arc::new(store)).await;
            });
        });
    });
    group.finish();
}

criterion_group!(benches, bare, clients, contention);
criterion_main!(benches);
