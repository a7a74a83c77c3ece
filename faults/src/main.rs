//! Injects faults under an event store that is written to, and counts acknowledged commands that are lost, doubled or torn.
//!
//! `scripts/faults` and `scripts/ha` run it.

mod faults;
mod ha;
mod rig;
mod writer;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use faults::{Fault, Table};
use rig::Rig;

/// The chapter of the guide with the table, and the mark before and after it.
const GUIDE: &str = "eventcore/docs/guarantees.md";
const MARK: &str = "<!-- faults -->";

#[derive(Parser)]
#[command(about = "Injects faults under a writing event store, and counts what is lost")]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Inject faults, each with its control. Those that mount a disk take root and loop devices
    Inject {
        /// The faults; all of them if none is named
        faults: Vec<Fault>,
        /// Rounds of each fault
        #[arg(long, env = "ROUNDS", default_value_t = 20)]
        rounds: u32,
        /// Write the table to the guide
        #[arg(long)]
        table: bool,
    },
    /// Kill the leader of a highly available PostgreSQL cluster under several writers
    Ha(ha::HaArguments),
    /// Run commands until killed
    Write(writer::WriteArguments),
    /// Check what writers left behind
    Check(writer::CheckArguments),
}

fn main() -> Result<ExitCode> {
    match Arguments::parse().action {
        Action::Inject {
            faults,
            rounds,
            table,
        } => inject(&faults, rounds, table),
        Action::Ha(arguments) => ha::run(&arguments),
        Action::Write(arguments) => {
            runtime()?.block_on(writer::write(arguments))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Check(arguments) => runtime()?.block_on(writer::check(arguments)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Runtime::new()?)
}

fn inject(faults: &[Fault], rounds: u32, to_guide: bool) -> Result<ExitCode> {
    let rig = Rig::new(rounds)?;
    let mut table = Table::default();
    let faults = if faults.is_empty() {
        Fault::value_variants()
    } else {
        faults
    };
    for fault in faults {
        fault.inject(&rig, &mut table)?;
    }
    println!("\n{table}");
    if to_guide {
        write_table(Path::new(GUIDE), &table)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces what is between the marks of the guide.
fn write_table(guide: &Path, table: &Table) -> Result<()> {
    let text = fs::read_to_string(guide)?;
    let mut parts = text.splitn(3, MARK);
    let (before, after) = parts
        .next()
        .zip(parts.nth(1))
        .with_context(|| format!("{} has no pair of {MARK}", guide.display()))?;
    fs::write(guide, format!("{before}{MARK}\n{table}\n{MARK}{after}"))?;
    Ok(())
}
