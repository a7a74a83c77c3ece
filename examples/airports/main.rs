//! Replays 20,000 flights of early 2001 into a database, as commands on two airports each, and checks the result.
//! Stop it at any moment, however rudely, and run it again: it goes on where it was.

mod board;
mod check;
#[path = "../database.rs"]
#[allow(dead_code, reason = "the board needs to know which store it is")]
mod database;
mod domain;
mod flights;
mod progress;
mod replay;

use std::{
    error::Error,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use board::Board;
use clap::Parser;
use database::Database;
use eventcore::{
    EventStore,
    postgres::PostgresEventStore,
    projection::{Projection, ProjectionDatabase},
    sqlite::SqliteEventStore,
};
use progress::Progress;

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(
    about = "Replays 20,000 flights into a database and checks the result; run it again to resume",
    version
)]
struct Arguments {
    /// A SQLite file, or the URL of a `PostgreSQL` database (`postgres://…`); by default a file in the folder for temporary
    /// files
    #[arg(long)]
    database: Option<Database>,
    /// The list of flights
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights-2001.csv"))]
    flights: PathBuf,
    /// How many flights are under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Only the first flights of the list
    #[arg(long)]
    limit: Option<usize>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let database = arguments
        .database
        .clone()
        .unwrap_or_else(|| Database::File(std::env::temp_dir().join("eventcore-airports.db")));
    match &database {
        Database::File(path) => {
            let store = SqliteEventStore::open(path).await?;
            fly(store, &database, &arguments).await
        }
        Database::Postgres(url) => {
            let store = PostgresEventStore::connect(url).await?;
            fly(store, &database, &arguments).await
        }
    }
}

async fn fly<S>(
    store: S,
    database: &Database,
    arguments: &Arguments,
) -> Result<ExitCode, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    let all = flights::read(&arguments.flights)?;
    let wanted = arguments
        .limit
        .map_or(all.len(), |limit| limit.min(all.len()));
    println!(
        "{wanted} flights, {} at a time, into {}",
        arguments.clients, database
    );

    let stop = stop_on_ctrl_c();
    let board = board::start(&store);
    let progress = Progress::new(u64::try_from(wanted)?);
    let started = Instant::now();
    let flights = all.iter().take(wanted).cloned().collect();
    let tally = replay::replay(&store, flights, arguments.clients, &progress, &stop).await?;
    let seconds = started.elapsed().as_secs_f64();
    progress.finish();

    let ran = tally.committed + tally.already_there;
    println!(
        "{} committed, {} already there",
        tally.committed, tally.already_there
    );
    println!(
        "{} commands per second in {seconds:.2} s",
        rate(ran, seconds)
    );
    println!(
        "{} retries, {} of them after a conflict",
        tally.retries, tally.conflicts
    );
    if let Some(states) = store.states() {
        let counts = states.counts();
        println!(
            "{} times a flight found the movements of its two airports remembered, {} times not",
            counts.hits, counts.misses
        );
    }
    if ran < u64::try_from(wanted)? {
        board.stop().await?;
        println!("stopped; run it again to go on");
        return Ok(ExitCode::from(INTERRUPTED));
    }

    board::print(&board, tally.position, database).await?;
    board.stop().await?;
    let report = check::check(&store, &all, wanted).await?;
    println!(
        "the log holds {} events: {} departures and {} arrivals at {} airports",
        report.events, report.departures, report.arrivals, report.airports
    );
    if report.problems.is_empty() {
        println!(
            "checked: every flight is there once on both sides, positions and versions have no gap"
        );
        return Ok(ExitCode::SUCCESS);
    }
    for problem in &report.problems {
        eprintln!("wrong: {problem}");
    }
    if report.more_problems > 0 {
        eprintln!("… and {} more", report.more_problems);
    }
    Ok(ExitCode::FAILURE)
}

/// A flag that the first Ctrl-C sets.
fn stop_on_ctrl_c() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            set.store(true, Ordering::Relaxed);
        }
    });
    stop
}

#[allow(clippy::cast_precision_loss, reason = "a rate to be shown")]
fn rate(count: u64, seconds: f64) -> String {
    format!("{:.0}", count as f64 / seconds.max(1e-9))
}
