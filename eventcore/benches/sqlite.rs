//! The cost of a durable command: `execute` on SQLite by 1 to 512 clients, against a bare `rusqlite` insert-and-commit of
//! the same rows in the same run.
#![allow(missing_docs)]

mod bare;
mod domain;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventcore::{
    EventStore, StreamKey, Version,
    sqlite::SqliteEventStore,
    store::{ReadStreamsRequest, StreamCursor},
};

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

/// Read, decode, fold and decide on one long stream, and commit one event more.
fn long_streams(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("sqlite/fold and decide");
    group.sample_size(10);
    for events in [10, 1_000, 10_000, 100_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bench.db");
        let store = runtime.block_on(SqliteEventStore::open(path));
        let store = store.expect("a store");
        let mut long = domain::LongAccount::new(events);
        group.throughput(Throughput::Elements(events as u64));
        for (name, states) in [("cold", 0), ("warm", 1000)] {
            domain::cache(&store, states);
            group.bench_function(BenchmarkId::new(name, events), |b| {
                b.iter_custom(|commands| {
                    let command = |account| domain::Deposit { account };
                    runtime.block_on(long.time(&store, commands, command))
                });
            });
        }
    }
    group.finish();
}

/// One page of 1,000 events of 300 streams with 300 events each: what is beyond the page is not read.
fn many_long_streams(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.db");
    let streams = (0..300).map(|n| domain::AccountId(n).stream_id().expect("an id"));
    let streams: Vec<_> = streams.collect();
    let store = runtime.block_on(async {
        let store = SqliteEventStore::open(path).await.expect("a store");
        for version in 0..300 {
            domain::deposit_each(&store, &streams, version, 1).await;
        }
        store
    });
    let after = Version::EMPTY;
    let cursors = streams
        .into_iter()
        .map(|stream| StreamCursor::new(stream, after));
    let request = ReadStreamsRequest {
        streams: cursors.collect(),
        snapshot: None,
        limit: 1000,
        idempotency_key: None,
    };
    c.bench_function("sqlite/a page of 300 streams with 300 events", |b| {
        b.iter(|| {
            let page = runtime.block_on(store.read_streams(request.clone()));
            page.expect("a page")
        });
    });
}

criterion_group!(
    benches,
    bare,
    clients,
    contention,
    long_streams,
    many_long_streams
);
criterion_main!(benches);
