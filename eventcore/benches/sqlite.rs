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
use rusqlite::{Connection, ToSql, params};

/// One transaction per commit with the rows that the store writes for a transfer, durable like the store's, and nothing
/// read: the least that any store must do.
fn bare(c: &mut Criterion) {
    let mut group = c.benchmark_group("sqlite");
    group
        .throughput(Throughput::Elements(1))
        .sample_size(10)
        .measurement_time(Duration::from_secs(4));
    group.bench_function("bare rusqlite, the same rows", |b| {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("bare.db")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
                 CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,
                     type INTEGER NOT NULL, event_id BLOB NOT NULL, recorded_at INTEGER NOT NULL,
                     payload TEXT NOT NULL, metadata TEXT, UNIQUE (stream, version)) STRICT;",
            )
            .expect("a schema");
        let mut commits = 0_i64;
        b.iter(|| {
            let execute = |sql: &str, values: &[&dyn ToSql]| {
                let mut statement = connection.prepare_cached(sql).expect("a statement");
                statement.execute(values).expect("a row");
            };
            execute("BEGIN IMMEDIATE", &[]);
            // Like `domain::clients`: two new accounts for every four commands.
            let (pair, version) = (commits / 4 * 2, commits % 4 + 1);
            for account in [pair + 1, pair + 2] {
                if version == 1 {
                    let name = format!("account-{}", (1_i64 << 44) + account);
                    execute("INSERT INTO streams (id, name) VALUES (?1, ?2)", params![account, name]);
                }
                execute(
                    "INSERT INTO events (stream, version, type, event_id, recorded_at, payload)
                     VALUES (?1, ?2, 1, ?3, 1, '{\"amount\":5}')",
                    params![account, version, commits.to_le_bytes().repeat(2)],
                );
            }
            execute("COMMIT", &[]);
            commits += 1;
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
