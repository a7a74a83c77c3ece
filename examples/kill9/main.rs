//! A writer to be killed, and a checker of what it left behind. `scripts/kill9.sh` and `scripts/faults` drive them, and
//! `HA_WORKLOAD=kill9 scripts/ha`, which kills the servers instead.

mod check;
#[path = "../database.rs"]
mod database;
mod domain;
mod forgetful;
mod too_early;
#[path = "../verdict.rs"]
mod verdict;

use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use clap::{Parser, Subcommand};
use database::Database;
use domain::{LeftId, RightId, Write};
use eventcore::{CommandError, EventStore, RetryPolicy, execute};
use forgetful::Forgetful;
use tokio::task::JoinSet;
use too_early::TooEarly;

/// What a writer says of a command that failed: nothing of it is stored …
const REFUSED: &str = "refused";
/// … or nobody knows.
const UNKNOWN: &str = "unknown";

#[derive(Parser)]
#[command(about = "Writes until it is killed, or checks what was left behind")]
struct Arguments {
    /// The SQLite file, or the URL of a PostgreSQL database
    #[arg(long)]
    database: Database,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run commands until killed; print the number of each one when it is acknowledged, and the time in milliseconds
    Write {
        /// The number of the first command
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// How many run at once
        #[arg(long, default_value_t = 16)]
        clients: u32,
        /// How many seconds a command is retried while the database is out of reach
        #[arg(long, default_value_t = 30)]
        patience: u64,
        /// Acknowledge before the commit is durable, which the checker must find out
        #[arg(long)]
        control: bool,
        /// Repeat a commit whose outcome is unknown under another id, which the checker must find out
        #[arg(long, conflicts_with = "control")]
        forgetful: bool,
        /// Go on when a command fails, after a while, and say how
        #[arg(long)]
        persevere: bool,
    },
    /// Check that every acknowledged command is stored once and whole, and no refused one; exit with 1 if not
    Check {
        /// Files with what the writers printed
        acknowledged: Vec<PathBuf>,
        /// Files with what the persevering writers said of failures
        #[arg(long)]
        refused: Vec<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Arguments { database, action } = Arguments::parse();
    let store: Arc<dyn EventStore> = database.open().await?.into();
    match action {
        Action::Write {
            first,
            clients,
            patience,
            control,
            forgetful,
            persevere,
        } => {
            // The control has its streams to itself: what it loses, it loses to the kill and not to a conflict.
            let (store, sharing) = if control {
                (Arc::new(TooEarly(store)) as _, 1)
            } else if forgetful {
                (Arc::new(Forgetful(store)) as _, 8)
            } else {
                (store, 8)
            };
            let policy = RetryPolicy::new()
                .max_attempts(u32::MAX)
                .deadline(Duration::from_secs(patience));
            write(store, first, clients, sharing, policy, persevere).await?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Check {
            acknowledged,
            refused,
        } => {
            let verdict = check::check(&store, &acknowledged, &refused).await?;
            println!("{verdict}");
            Ok(if verdict.is_clean() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
    }
}

/// Runs commands without end; each `sharing` of them share their right stream, and so compete for it.
async fn write(
    store: Arc<dyn EventStore>,
    first: u64,
    clients: u32,
    sharing: u64,
    policy: RetryPolicy,
    persevere: bool,
) -> Result<(), Box<dyn Error>> {
    let next = Arc::new(AtomicU64::new(first));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (store, next, policy) = (store.clone(), next.clone(), policy.clone());
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let command = Write {
                    left: LeftId(number),
                    right: RightId(number / sharing),
                    number,
                };
                match execute(&store, command, policy.clone()).await {
                    Ok(_) => {}
                    Err(error) if persevere => {
                        let what = match error {
                            CommandError::OutcomeUnknown { .. } => UNKNOWN,
                            _ => REFUSED,
                        };
                        // In one write, so that no other process's line comes in between.
                        let line = format!("{number} {what}: {error}\n");
                        io::stderr().lock().write_all(line.as_bytes())?;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                    Err(error) => return Err(io::Error::other(error)),
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
