//! The cost of a command without a disk: the pipeline alone, `execute` on memory, decode and fold, long streams.
#![allow(missing_docs)]

mod domain;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use domain::{AccountEvent, AccountId, Deposit, Transfer};
use eventcore::{
    CommitId, Event, ExecuteOptions, Position, RetryPolicy, execute,
    execute::{ExecutePipeline, Step},
    memory::MemoryEventStore,
    store::{CommitReceipt, StreamExtent, StreamPage},
};

/// The pipeline of a two-stream command, with its effects answered from the stack.
fn pipeline(c: &mut Criterion) {
    c.bench_function("pipeline/two streams, no store", |b| {
        let id = CommitId::generate();
        b.iter(|| {
            let command = Transfer {
                from: AccountId(1),
                to: AccountId(2),
            };
            let mut step = ExecutePipeline::new(command, ExecuteOptions::new(), id).start();
            loop {
                step = match step {
                    Step::ReadStreams(read) => read.resume(
                        Ok(StreamPage {
                            streams: vec![StreamExtent::default(); 2],
                            events: vec![],
                            snapshot: Position::START,
                            already_committed: None,
                        }),
                        Duration::ZERO,
                    ),
                    Step::Append(append) => append.resume(
                        Ok(CommitReceipt {
                            position: Position::new(2),
                            events: 2,
                            repeated: false,
                        }),
                        Duration::ZERO,
                    ),
                    Step::Sleep(sleep) => sleep.resume(),
                    Step::Done { result, .. } => break black_box(result.is_ok()),
                }
            }
        });
    });
}

fn execute_on_memory(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("memory/execute");
    group.throughput(Throughput::Elements(1));
    for two_streams in [false, true] {
        let name = if two_streams {
            "two streams"
        } else {
            "one stream"
        };
        group.bench_function(name, |b| {
            b.iter_custom(|commands| {
                let store = Arc::new(MemoryEventStore::new());
                let started = Instant::now();
                runtime.block_on(async {
                    for number in 0..commands {
                        let account = number / 4 * 2;
                        if two_streams {
                            let command = Transfer {
                                from: AccountId(account),
                                to: AccountId(account + 1),
                            };
                            execute(&store, command, RetryPolicy::new())
                                .await
                                .expect("a transfer");
                        } else {
                            let command = Deposit {
                                account: AccountId(account),
                            };
                            execute(&store, command, RetryPolicy::new())
                                .await
                                .expect("a deposit");
                        }
                    }
                });
                started.elapsed()
            });
        });
    }
    group.finish();
}

fn long_streams(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let mut group = c.benchmark_group("memory/fold and decide");
    group.sample_size(10);
    for events in [10, 1_000, 10_000, 100_000, 1_000_000] {
        let store = MemoryEventStore::new();
        let mut long = domain::LongAccount::new(events);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(BenchmarkId::from_parameter(events), |b| {
            b.iter_custom(|commands| {
                let command = |account| Deposit { account };
                runtime.block_on(long.time(&store, commands, command))
            });
        });
    }
    group.finish();
    c.bench_function("decode one event", |b| {
        b.iter(|| {
            AccountEvent::decode(black_box("AccountDeposited"), black_box(b"{\"amount\":5}"))
        });
    });
}

fn contention(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    c.bench_function("memory/32 tasks x 20 commands on one stream", |b| {
        b.iter(|| {
            let store = Arc::new(MemoryEventStore::new());
            runtime.block_on(async {
                domain::contend(store).await;
            });
        });
    });
}

criterion_group!(
    benches,
    pipeline,
    execute_on_memory,
    long_streams,
    contention
);
criterion_main!(benches);
