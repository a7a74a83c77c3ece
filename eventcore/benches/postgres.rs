//! What a durable command costs on PostgreSQL, as ratios to bare statements on the same server in the same run:
//! `scripts/postgres cargo bench -p eventcore --features postgres --bench postgres`.
//!
//! A command is a transfer: two streams read, two events appended. Every figure is the median of rounds in which all
//! measurements take turns. `ROUNDS` and `SECONDS` (of each measurement) may be set.
#![allow(missing_docs)]

mod domain;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{AccountId, Transfer};
use eventcore::{
    RetryPolicy, execute,
    postgres::{PostgresConfig, PostgresEventStore},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Schema of a measurement that goes without the store.
const BARE: &str = "
    CREATE TABLE streams (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE \"C\" NOT NULL UNIQUE);
    CREATE TABLE events (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream bigint NOT NULL, version bigint NOT NULL,
        type integer NOT NULL, event_id uuid NOT NULL, recorded_at timestamptz NOT NULL, payload json NOT NULL,
        metadata json, UNIQUE (stream, version));
    CREATE INDEX ON events (type, position);";

fn url() -> String {
    std::env::var("EVENTCORE_POSTGRES_URL").expect("run this as `scripts/postgres cargo bench …`")
}

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn schema() -> String {
    format!("bench_{}", Uuid::now_v7().simple())
}

async fn store(schema: &str) -> Result<Arc<PostgresEventStore>, Error> {
    Ok(Arc::new(
        PostgresConfig::new(&url())?
            .schema(schema)?
            .connect()
            .await?,
    ))
}

/// How many, in how long, and how long each took.
struct Measured {
    elapsed: Duration,
    each: Vec<Duration>,
}

impl Measured {
    #[allow(clippy::cast_precision_loss)]
    fn per_second(&self) -> f64 {
        self.each.len() as f64 / self.elapsed.as_secs_f64()
    }

    fn quantile(&mut self, of_thousand: usize) -> Duration {
        self.each.sort_unstable();
        self.each[(self.each.len() - 1) * of_thousand / 1000]
    }
}

/// Runs `clients` loops of `work(client, number)` for some seconds.
async fn measure<F>(
    clients: u64,
    seconds: f64,
    work: impl Fn(u64, u64) -> F + Clone + Send + 'static,
) -> Measured
where
    F: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let work = work.clone();
            tokio::spawn(async move {
                let mut each = Vec::new();
                let mut number = 0;
                while Instant::now() < end {
                    let began = Instant::now();
                    work(client, number).await;
                    each.push(began.elapsed());
                    number += 1;
                }
                each
            })
        })
        .collect();
    let mut each = Vec::new();
    for task in tasks {
        each.extend(task.await.expect("a client"));
    }
    Measured {
        elapsed: started.elapsed(),
        each,
    }
}

/// Two accounts of the client's own, new for every fourth command, so that streams stay short.
fn accounts(client: u64, number: u64, run: u64) -> (u64, u64) {
    let account = (run << 48) + (client << 32) + number / 4 * 2;
    (account, account + 1)
}

async fn commands(
    store: Arc<PostgresEventStore>,
    clients: u64,
    seconds: f64,
    run: u64,
) -> Measured {
    measure(clients, seconds, move |client, number| {
        let store = store.clone();
        async move {
            let (from, to) = accounts(client, number, run);
            let command = Transfer {
                from: AccountId(from),
                to: AccountId(to),
            };
            execute(&store, command, RetryPolicy::new())
                .await
                .expect("a transfer");
        }
    })
    .await
}

/// A connection and the statements of a store that keeps to one statement for each step.
struct Bare {
    client: Client,
    read: Statement,
    open: Statement,
    insert: Statement,
}

impl Bare {
    async fn connect(schema: &str) -> Result<Self, Error> {
        let (client, connection) = tokio_postgres::connect(&url(), NoTls).await?;
        tokio::spawn(connection);
        client
            .batch_execute(&format!("SET search_path = {schema}"))
            .await?;
        let read = client
            .prepare(
                "SELECT s.name, e.version, e.position, e.type, e.payload FROM streams s JOIN events e ON e.stream = s.id
                 WHERE s.name IN ($1, $2) ORDER BY e.position",
            )
            .await?;
        // Ids of streams are as good as known: the least that can be done.
        let open = client
            .prepare(
                "INSERT INTO streams (id, name) OVERRIDING SYSTEM VALUE VALUES ($1, $2), ($3, $4)",
            )
            .await?;
        let insert = client
            .prepare(
                "INSERT INTO events (stream, version, type, event_id, recorded_at, payload)
                 VALUES ($1, $3, 1, $4, now(), '{\"amount\":5}'), ($2, $3, 2, $5, now(), '{\"amount\":5}')",
            )
            .await?;
        Ok(Self {
            client,
            read,
            open,
            insert,
        })
    }

    async fn read(&self, from: i64, to: i64) {
        let (from, to) = (format!("account-{from}"), format!("account-{to}"));
        self.client
            .query(&self.read, &[&from, &to])
            .await
            .expect("a read");
    }

    async fn insert(&self, from: i64, to: i64, number: u64) {
        let version = i64::try_from(number % 4 + 1).expect("small");
        if version == 1 {
            let (from_name, to_name) = (format!("account-{from}"), format!("account-{to}"));
            self.client
                .execute(&self.open, &[&from, &from_name, &to, &to_name])
                .await
                .expect("two streams");
        }
        let (one, two) = (Uuid::now_v7(), Uuid::now_v7());
        self.client
            .execute(&self.insert, &[&from, &to, &version, &one, &two])
            .await
            .expect("two events");
    }

    async fn statement(&self, sql: &str) {
        self.client.batch_execute(sql).await.expect("a statement");
    }
}

fn signed((from, to): (u64, u64)) -> (i64, i64) {
    (from.cast_signed(), to.cast_signed())
}

async fn bare_schema() -> Result<String, Error> {
    let schema = schema();
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {schema}; SET search_path = {schema}; {BARE}"
        ))
        .await?;
    Ok(schema)
}

/// BEGIN, read, insert, COMMIT, each a round trip; a connection for each client.
async fn four_round_trips(clients: u64, seconds: f64) -> Result<Measured, Error> {
    let schema = bare_schema().await?;
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Bare::connect(&schema).await?);
    }
    let connections = Arc::new(connections);
    Ok(measure(clients, seconds, move |client, number| {
        let connections = connections.clone();
        async move {
            let bare = &connections[usize::try_from(client).expect("few")];
            let (from, to) = signed(accounts(client, number, 0));
            bare.statement("BEGIN").await;
            bare.read(from, to).await;
            bare.insert(from, to, number).await;
            bare.statement("COMMIT").await;
        }
    })
    .await)
}

/// The rows of a command by one connection, each command a statement that commits, 64 of them under way at a time.
async fn pipelined_inserts(seconds: f64) -> Result<Measured, Error> {
    let bare = Bare::connect(&bare_schema().await?).await?;
    let started = Instant::now();
    let end = started + Duration::from_secs_f64(seconds);
    let (mut under_way, mut each, mut number) = (FuturesUnordered::new(), Vec::new(), 0);
    let bare = &bare;
    while Instant::now() < end {
        while under_way.len() < 64 {
            let (client, round) = (number % 64, number / 64);
            under_way.push(async move {
                let (from, to) = signed(accounts(client, round, 0));
                let began = Instant::now();
                bare.insert(from, to, round).await;
                began.elapsed()
            });
            number += 1;
        }
        each.extend(under_way.next().await);
    }
    each.extend(under_way.collect::<Vec<_>>().await);
    Ok(Measured {
        elapsed: started.elapsed(),
        each,
    })
}

/// What one client needs at least: a round trip to read and one to insert.
async fn round_trip_pair(seconds: f64) -> Result<Measured, Error> {
    let bare = Arc::new(Bare::connect(&bare_schema().await?).await?);
    Ok(measure(1, seconds, move |client, number| {
        let bare = bare.clone();
        async move {
            let (from, to) = signed(accounts(client, number, 0));
            bare.read(from, to).await;
            bare.insert(from, to, number).await;
        }
    })
    .await)
}

/// Commands per second of this many processes with `clients` clients each.
async fn processes(count: u64, clients: u64, seconds: f64) -> Result<f64, Error> {
    let schema = schema();
    drop(store(&schema).await?);
    let program = std::env::current_exe()?;
    let mut children = Vec::new();
    for run in 0..count {
        let child = Command::new(&program)
            .env(
                "BENCH_WORKER",
                format!("{schema} {clients} {seconds} {run}"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        children.push(child);
    }
    let mut outputs = Vec::new();
    for child in &mut children {
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        lines.next().expect("a line")?; // connected
        outputs.push(lines);
    }
    for child in &mut children {
        writeln!(child.stdin.take().expect("piped"), "go")?;
    }
    let mut total = 0.0;
    for mut lines in outputs {
        total += lines.next().expect("a line")?.parse::<f64>()?;
    }
    for mut child in children {
        child.wait()?;
    }
    Ok(total)
}

async fn worker(task: &str) -> Result<(), Error> {
    let mut words = task.split(' ');
    let mut word = || words.next().expect("four words");
    let (schema, clients, seconds, run) = (
        word(),
        word().parse()?,
        word().parse()?,
        word().parse::<u64>()?,
    );
    let store = store(schema).await?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new())?;
    println!(
        "{}",
        commands(store, clients, seconds, run + 1)
            .await
            .per_second()
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Error> {
    if let Ok(task) = std::env::var("BENCH_WORKER") {
        return worker(&task).await;
    }
    let (rounds, seconds) = (setting("ROUNDS", 5.0), setting("SECONDS", 2.0));
    let mut columns: Vec<(&str, Vec<f64>)> = Vec::new();
    let mut note =
        |name: &'static str, value: f64| match columns.iter_mut().find(|(known, _)| *known == name)
        {
            Some((_, values)) => values.push(value),
            None => columns.push((name, vec![value])),
        };
    let (mut round, mut run) = (0.0, 0);
    let shared = store(&schema()).await?;
    while round < rounds {
        round += 1.0;
        run += 1;
        let mut many = commands(shared.clone(), 64, seconds, run).await;
        note("64 clients, commands/s", many.per_second());
        let (p50, p99) = (many.quantile(500), many.quantile(990));
        note("64 clients, p50 ms", p50.as_secs_f64() * 1e3);
        note("64 clients, p99 ms", p99.as_secs_f64() * 1e3);
        let four = four_round_trips(64, seconds).await?.per_second();
        note("64 clients of four round trips, commands/s", four);
        let pipelined = pipelined_inserts(seconds).await?.per_second();
        note("bare pipelined inserts, commands/s", pipelined);
        let one = commands(shared.clone(), 1, seconds, run + 1000)
            .await
            .quantile(500);
        note("1 client, p50 ms", one.as_secs_f64() * 1e3);
        let pair = round_trip_pair(seconds).await?.quantile(500);
        note("bare round-trip pair, p50 ms", pair.as_secs_f64() * 1e3);
        let alone = processes(1, 64, seconds).await?;
        let both = processes(2, 64, seconds).await?;
        note("1 process, commands/s", alone);
        note("2 processes, commands/s", both);
        note(
            "RATIO to four round trips (at least 8)",
            many.per_second() / four,
        );
        note(
            "RATIO to bare pipelined inserts (at least 0.5)",
            many.per_second() / pipelined,
        );
        note(
            "RATIO of one client's time to the bare pair (at most 1.2)",
            one.as_secs_f64() / pair.as_secs_f64(),
        );
        note("RATIO of two processes to one (at least 0.8)", both / alone);
        note(
            "RATIO of p99 to p50 (under 4)",
            p99.as_secs_f64() / p50.as_secs_f64(),
        );
    }
    for (name, values) in columns {
        println!("{name:58} {:10.2}", median(values));
    }
    Ok(())
}
