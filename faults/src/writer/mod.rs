//! The program under test: it writes until it is killed, and checks what was stored.
//!
//! `faults write` and `faults check` are processes of their own, so that they can be killed, paused, traced and started with
//! other libraries.

mod check;
mod domain;
pub(crate) mod failure;
mod forgetful;
mod too_early;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use domain::{LeftId, RightId, Write};
use eventcore::{
    EventStore, RetryPolicy, execute, postgres::PostgresEventStore, sqlite::SqliteEventStore,
};
use eventcore_faults::verdict;
use failure::Failure;
use forgetful::Forgetful;
use tokio::task::JoinSet;
use too_early::TooEarly;

/// Runs commands until killed; prints the number of each one when it is acknowledged, and the time in milliseconds.
#[derive(Args)]
pub(crate) struct WriteArguments {
    /// The SQLite file, or the URL of a PostgreSQL database
    #[arg(long)]
    database: String,
    /// The number of the first command
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Commands that run at once
    #[arg(long, default_value_t = 16)]
    clients: u32,
    /// Seconds for which a command is retried while the database is out of reach
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// Acknowledge before the commit is durable, which the check must find
    #[arg(long)]
    too_early: bool,
    /// Retry a commit whose outcome is unknown under another id, which the check must find
    #[arg(long, conflicts_with = "too_early")]
    forgetful: bool,
    /// Continue after a command has failed, and report the failure
    #[arg(long)]
    persevere: bool,
}

/// Checks that every acknowledged command is stored once and whole, and no refused one; exits with 1 if not.
#[derive(Args)]
pub(crate) struct CheckArguments {
    /// The SQLite file, or the URL of a PostgreSQL database
    #[arg(long)]
    database: String,
    /// A file for the counts, as JSON
    #[arg(long)]
    verdict: Option<PathBuf>,
    /// Files with what persevering writers reported
    #[arg(long)]
    refused: Vec<PathBuf>,
    /// Files with what writers acknowledged
    acknowledged: Vec<PathBuf>,
}

pub(crate) async fn write(arguments: WriteArguments) -> Result<()> {
    let store = open(&arguments.database).await?;
    // The control shares no streams, so that it loses commits by the kill and not by conflicts.
    let (store, sharing): (Arc<dyn EventStore>, _) = if arguments.too_early {
        (Arc::new(TooEarly(store)), 1)
    } else if arguments.forgetful {
        (Arc::new(Forgetful(store)), 8)
    } else {
        (store, 8)
    };
    let policy = RetryPolicy::new()
        .max_attempts(u32::MAX)
        .deadline(Duration::from_secs(arguments.patience));
    run(store, sharing, policy, &arguments).await
}

pub(crate) async fn check(arguments: CheckArguments) -> Result<ExitCode> {
    let store = open(&arguments.database).await?;
    let verdict = check::check(&store, &arguments.acknowledged, &arguments.refused)
        .await
        .map_err(|error| {
            let causes = std::iter::successors(Some(&*error), |cause| cause.source());
            let texts: Vec<_> = causes.map(ToString::to_string).collect();
            anyhow::anyhow!(texts.join(": "))
        })?;
    println!("{verdict}");
    if let Some(path) = arguments.verdict {
        verdict.save(&path)?;
    }
    Ok(if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn open(database: &str) -> Result<Arc<dyn EventStore>> {
    Ok(if database.starts_with("postgres://") {
        Arc::new(PostgresEventStore::connect(database).await?)
    } else {
        Arc::new(SqliteEventStore::open(database).await?)
    })
}

/// Runs commands without end; each `sharing` of them share their right stream, and so compete for it.
async fn run(
    store: Arc<dyn EventStore>,
    sharing: u64,
    policy: RetryPolicy,
    arguments: &WriteArguments,
) -> Result<()> {
    let persevere = arguments.persevere;
    let next = Arc::new(AtomicU64::new(arguments.first));
    let mut tasks = JoinSet::new();
    for _ in 0..arguments.clients {
        let (store, next, policy) = (store.clone(), next.clone(), policy.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let command = Write {
                    left: LeftId(number),
                    right: RightId(number / sharing),
                    number,
                };
                if let Err(error) = execute(&store, command, policy.clone()).await {
                    let failure = Failure::new(number, error);
                    // In one write, so that lines of several tasks do not mix.
                    io::stderr()
                        .lock()
                        .write_all(format!("{failure}\n").as_bytes())?;
                    if !persevere {
                        return Err(io::Error::other(failure.message));
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                verdict::acknowledge(io::stdout().lock(), number)?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        let ended: io::Result<()> = ended?;
        ended?;
    }
    Ok(())
}
