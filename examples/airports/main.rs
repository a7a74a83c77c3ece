//! Replays 20,000 flights of early 2001 into a database, as commands on two airports each, and checks the result.
//! It can be killed at any moment: the next run resumes. Several processes can share the flights, as in `scripts/ha`, which kills
//! servers meanwhile.

mod board;
mod check;
#[path = "../database.rs"]
mod database;
mod domain;
mod flights;
mod progress;
mod replay;

use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use board::Board;
use check::Report;
use clap::Parser;
use database::{Database, Opened};
use domain::Flight;
use eventcore::{
    EventStore,
    projection::{Projection, ProjectionDatabase, RebuildOutcome},
};
use flights::Share;
use progress::Progress;
use replay::Watch;

/// The exit code of a program that Ctrl-C ended.
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
    /// The number of concurrent flights
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// The number of flights to replay, from the start of the list
    #[arg(long)]
    limit: Option<usize>,
    /// One of several equal shares, such as `2/3` for the second of three, for several processes on one database
    #[arg(long, default_value = "1/1")]
    share: Share,
    /// Repeat the list endlessly, with new flight numbers
    #[arg(long)]
    endless: bool,
    /// Print the error of a failed flight and continue with the next one
    #[arg(long)]
    persevere: bool,
    /// A file for the number of each committed flight and the time of its commit in milliseconds
    #[arg(long)]
    acknowledged: Option<PathBuf>,
    /// Replay nothing: count the flights of these files that are missing from the log, and check the log and the board, while
    /// nothing writes to them
    #[arg(long, num_args = 0.., value_name = "FILE")]
    check: Option<Vec<PathBuf>>,
    /// A file for the counts of the check, as JSON
    #[arg(long, requires = "check")]
    verdict: Option<PathBuf>,
    /// Replay nothing: rebuild the board from the log, or resume an interrupted rebuild
    #[arg(long, conflicts_with = "check")]
    rebuild: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let database = arguments
        .database
        .clone()
        .unwrap_or_else(|| Database::File(std::env::temp_dir().join("eventcore-airports.db")));
    let all = flights::read(&arguments.flights)?;
    match database.open().await? {
        Opened::File(store) => on(store, &database, &all, &arguments).await,
        Opened::Postgres(store) => on(store, &database, &all, &arguments).await,
    }
}

async fn on<S>(
    store: S,
    database: &Database,
    all: &[Flight],
    arguments: &Arguments,
) -> Result<ExitCode, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    if arguments.rebuild {
        return rebuild(store, database).await;
    }
    match &arguments.check {
        Some(acknowledged) => {
            let verdict = arguments.verdict.as_deref();
            check(store, database, all, acknowledged, verdict).await
        }
        None => fly(store, database, all, arguments).await,
    }
}

async fn fly<S>(
    store: S,
    database: &Database,
    all: &[Flight],
    arguments: &Arguments,
) -> Result<ExitCode, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    let listed = all
        .get(..arguments.limit.unwrap_or(all.len()))
        .unwrap_or(all);
    let flights: Arc<[Flight]> = arguments.share.of(listed).cloned().collect();
    println!(
        "{} flights, {} at a time, into {database}",
        flights.len(),
        arguments.clients
    );

    let acknowledged = arguments.acknowledged.as_ref().map(File::create);
    let wanted = u64::try_from(flights.len())?;
    let watch = Watch {
        progress: Progress::new((!arguments.endless).then_some(wanted)),
        stop: stop_on_ctrl_c(),
        acknowledged: acknowledged.transpose()?.map(Arc::new),
        persevere: arguments.persevere,
    };
    let board = board::start(&store, database);
    let started = Instant::now();
    let to_fly = flights::to_fly(&flights, all.len(), arguments.endless);
    let tally = replay::replay(&store, to_fly, arguments.clients, &watch).await?;
    let seconds = started.elapsed().as_secs_f64();
    watch.progress.finish();

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
            "{} times the movements of an airport were cached, {} times not",
            counts.hits, counts.misses
        );
    }
    if arguments.endless || ran < wanted {
        board.stop().await?;
        println!("stopped; run it again to resume");
        return Ok(ExitCode::from(INTERRUPTED));
    }

    board::print(&board.rows(tally.position).await?);
    board.stop().await?;
    let report = check::check(&store, all, flights.iter(), &[]).await?;
    Ok(print(&report))
}

/// Rebuilds the board.
async fn rebuild<S>(store: S, database: &Database) -> Result<ExitCode, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    if board::rebuild(&store, database, &stop_on_ctrl_c()).await? == RebuildOutcome::Interrupted {
        println!("stopped; the board is unchanged; run it again to resume");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    println!("the board was rebuilt");
    board::print(&Board::new(database).rows().await?);
    Ok(ExitCode::SUCCESS)
}

/// Compares the log with the files, and the board with the log.
async fn check<S>(
    store: S,
    database: &Database,
    all: &[Flight],
    acknowledged: &[PathBuf],
    verdict: Option<&Path>,
) -> Result<ExitCode, Box<dyn Error>>
where
    S: EventStore + ProjectionDatabase,
    Board: Projection<S::Transaction>,
{
    let mut report = check::check(&store, all, [].iter(), acknowledged).await?;
    let board = board::start(&store, database);
    report.expect_board(&board.rows(report.end).await?);
    board.stop().await?;
    println!("{}", report.verdict);
    if let Some(path) = verdict {
        report.verdict.save(path)?;
    }
    Ok(print(&report))
}

fn print(report: &Report) -> ExitCode {
    println!(
        "the log holds {} events: {} departures and {} arrivals at {} airports",
        report.events,
        report.departures,
        report.arrivals,
        report.movements.len()
    );
    if report.problems.is_empty() {
        println!(
            "checked: every flight is there once on both sides, positions and versions have no gap"
        );
        return ExitCode::SUCCESS;
    }
    for problem in &report.problems {
        eprintln!("wrong: {problem}");
    }
    if report.more_problems > 0 {
        eprintln!("… and {} more", report.more_problems);
    }
    ExitCode::FAILURE
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
