//! Kills the leader of a highly available PostgreSQL cluster while several processes write to it, and counts acknowledged
//! commands that are lost, doubled or torn.

mod cluster;
mod node;
mod workload;

use std::{process::ExitCode, thread::sleep, time::Duration};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use cluster::{Cluster, replicas_of};
use workload::{Work, Workload};

use crate::rig::wait_until;

/// The time within which the cluster must recover and the writers continue.
const PATIENCE: Duration = Duration::from_mins(2);

/// The arguments of `faults ha`.
#[derive(Args)]
pub(crate) struct HaArguments {
    /// Rounds, of the kinds `kill`, `pause` and `behind` in turn
    #[arg(long, env = "ROUNDS")]
    rounds: Option<u32>,
    /// Writing processes
    #[arg(long, env = "WRITERS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    writers: u32,
    /// The program that writes
    #[arg(long, env = "HA_WORKLOAD", default_value = "airports")]
    workload: Workload,
    /// Patroni's `synchronous_mode`
    #[arg(long, env = "HA_MODE", default_value = "on")]
    mode: SynchronousMode,
    /// Set Patroni's `synchronous_mode_strict`
    #[arg(long, env = "HA_STRICT", value_parser = clap::builder::BoolishValueParser::new(), default_value = "false")]
    strict: bool,
    /// Replicate asynchronously, and succeed only if commits are found lost
    #[arg(long, conflicts_with = "smoke")]
    control: bool,
    /// One round of `kill`
    #[arg(long)]
    smoke: bool,
}

/// Patroni's `synchronous_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SynchronousMode {
    On,
    Quorum,
    Off,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy)]
enum Strike {
    /// A replica is paused, the leader and its Patroni are killed, the replica continues.
    Kill,
    /// The leader is paused for longer than its lease, so that another one takes over; then it continues.
    Pause,
    /// Both replicas are paused while the writers continue, then the leader is killed, then the replicas continue.
    Behind,
}

pub(crate) fn run(arguments: &HaArguments) -> Result<ExitCode> {
    let (strikes, rounds, mode): (&[Strike], _, _) = if arguments.control {
        (&[Strike::Behind], 1, SynchronousMode::Off)
    } else if arguments.smoke {
        (&[Strike::Kill], 1, arguments.mode)
    } else {
        let all = &[Strike::Kill, Strike::Pause, Strike::Behind];
        (all, 4, arguments.mode)
    };
    let rounds = arguments.rounds.unwrap_or(rounds);
    let mut cluster = Cluster::start(mode, arguments.strict)?;
    // In the control the log loses its end. Commands that have read more of it fail, and the writers continue.
    let mut work = Work::start(
        &cluster,
        arguments.workload,
        arguments.writers,
        arguments.control,
    )?;
    for (round, strike) in (1..=rounds).zip(strikes.iter().cycle()) {
        sleep(Duration::from_secs(3));
        let old = strike.execute(round, &mut cluster, &mut work, arguments.control)?;
        work.expect_progress()?;
        if !arguments.control {
            work.expect_projection(&mut cluster)?;
        }
        let leader = cluster.leader().context("there is no leader")?;
        println!("  the writers continue, with leader {leader}");
        cluster.restart(old)?;
        cluster.expect_well()?;
    }
    sleep(Duration::from_secs(1));
    work.expect_progress()?;
    let verdict = work.end_and_check()?;
    let workload = arguments.workload;
    println!("{rounds} round(s) of {workload:?}, synchronous_mode {mode:?}: {verdict}");
    if arguments.control {
        ensure!(
            verdict.lost > 0,
            "the control lost nothing: the count cannot tell synchronous replication from asynchronous"
        );
        println!(
            "without synchronous replication acknowledged commits are lost, and that was found"
        );
        return Ok(ExitCode::SUCCESS);
    }
    Ok(if verdict.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Strike {
    /// Injects the fault, and returns the leader that it hit.
    fn execute(
        self,
        round: u32,
        cluster: &mut Cluster,
        work: &mut Work,
        is_control: bool,
    ) -> Result<usize> {
        let old = cluster.leader().context("there is no leader")?;
        let [first, second] = replicas_of(old);
        match self {
            Self::Kill => {
                let paused = if round.is_multiple_of(2) {
                    first
                } else {
                    second
                };
                println!("round {round}: replica {paused} is paused, leader {old} killed");
                cluster.pause(paused);
                sleep(Duration::from_secs(1));
                cluster.kill(old);
                sleep(Duration::from_secs(4));
                cluster.resume(paused);
            }
            Self::Pause => {
                println!("round {round}: leader {old} is paused for 25 s");
                cluster.pause(old);
                sleep(Duration::from_secs(25));
                cluster.resume(old);
            }
            Self::Behind => {
                println!("round {round}: both replicas are paused, then leader {old} is killed");
                cluster.pause(first);
                cluster.pause(second);
                sleep(Duration::from_secs(4));
                if is_control {
                    // Data that the kernel has buffered for a replica would still reach it; data that is sent after the leader has given it
                    // up does not.
                    let is_alone =
                        wait_until(Duration::from_mins(1), || Ok(cluster.is_alone(old)))?;
                    ensure!(is_alone, "the leader does not give up its replicas");
                    work.expect_progress()?;
                }
                cluster.kill(old);
                sleep(Duration::from_secs(1));
                cluster.resume(first);
                cluster.resume(second);
            }
        }
        Ok(old)
    }
}
