//! What a durable command costs: `execute` on SQLite by 1 to 512 clients, against a bare `rusqlite` insert-and-commit of
//! the same rows in the same run.
#![allow(missing_docs)]

mod domain;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eventcore::sqlite::SqliteEventStore;
use rusqlite::{Connection, params};

/// One transaction with two rows per commit, durable like the store's: the least that any store must do.
fn bare(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    group.bench_function("bare rusqlite, two rows per commit", |b| {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("bare.db")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,
                     type INTEGER NOT NULL, event_id BLOB NOT NULL, recorded_at INTEGER NOT NULL,
                     payload TEXT NOT NULL, metadata TEXT, UNIQUE (stream, version)) STRICT;",
            )
            .expect("a schema");
        let mut stream = 0_i64;
        b.iter(|| {
            connection.execute_batch("BEGIN IMMEDIATE").expect("a transaction");
            for _ in 0..2 {
                stream += 1;
                let sql = "INSERT INTO events (stream, version, type, event_id, recorded_at, payload) \
                           VALUES (?1, 1, 1, x'00112233445566778899aabbccddeeff', 1, '{\"amount\":5}')";
                connection.prepare_cached(sql).expect("a statement").execute(params![stream]).expect("a row");
            }
            connection.execute_batch("COMMIT").expect("a commit");
        });
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
