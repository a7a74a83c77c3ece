//! The processes that write to the cluster.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use eventcore_faults::verdict::Verdict;

use super::{PATIENCE, cluster::Cluster};
use crate::rig::{count_lines, wait_until};

/// The program that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// The example `airports`: each process replays its share of the flights, and a projection maintains their board
    Airports,
    /// `faults write`: without idempotency keys, which would hide a commit that is made twice
    Plain,
}

/// Several writing processes. Dropping this kills them.
pub(super) struct Work {
    workload: Workload,
    program: PathBuf,
    url: String,
    folder: PathBuf,
    writers: Vec<Child>,
}

impl Work {
    /// Creates the store's tables, starts the writers, and waits until each has written.
    pub(super) fn start(
        cluster: &Cluster,
        workload: Workload,
        writers: u32,
        persevere: bool,
    ) -> Result<Self> {
        let own = std::env::current_exe()?;
        let program = match workload {
            Workload::Plain => own,
            Workload::Airports => own.with_file_name("airports"),
        };
        let mut work = Self {
            workload,
            program,
            url: cluster.url(),
            folder: cluster.folder().to_owned(),
            writers: Vec::new(),
        };
        work.check(&[]).context("the store cannot be opened")?;
        println!("the cluster is well; {writers} processes write");
        for number in 1..=writers {
            let mut command = Command::new(&work.program);
            match workload {
                Workload::Airports => command
                    .args(["--database", &work.url, "--endless", "--clients", "16"])
                    .args(["--share", &format!("{number}/{writers}"), "--acknowledged"])
                    .arg(work.acknowledged(number))
                    .stdout(File::create(work.output(number))?),
                Workload::Plain => command
                    .args(["write", "--database", &work.url, "--patience"])
                    .arg(PATIENCE.as_secs().to_string())
                    .args(["--first", &format!("{number}00000000")])
                    .stdout(File::create(work.acknowledged(number))?),
            };
            if persevere {
                command.arg("--persevere");
            }
            let reported = File::create(work.reported(number))?;
            work.writers.push(command.stderr(reported).spawn()?);
        }
        work.wait_for_progress(&vec![0; work.writers.len()], Duration::from_secs(30))?;
        Ok(work)
    }

    fn acknowledged(&self, writer: u32) -> PathBuf {
        self.folder.join(format!("acknowledged.{writer}"))
    }

    fn output(&self, writer: u32) -> PathBuf {
        self.folder.join(format!("output.{writer}"))
    }

    fn reported(&self, writer: u32) -> PathBuf {
        self.folder.join(format!("reported.{writer}"))
    }

    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let count = u32::try_from(self.writers.len()).unwrap_or(u32::MAX);
        1..=count
    }

    fn counts(&self) -> Vec<usize> {
        self.numbers()
            .map(|number| count_lines(&self.acknowledged(number)).unwrap_or(0))
            .collect()
    }

    /// Waits until every writer has had another commit acknowledged.
    pub(super) fn expect_progress(&mut self) -> Result<()> {
        let before = self.counts();
        self.wait_for_progress(&before, PATIENCE)
    }

    fn wait_for_progress(&mut self, before: &[usize], limit: Duration) -> Result<()> {
        let continues = wait_until(limit, || {
            for (writer, number) in self.writers.iter_mut().zip(1..) {
                if writer.try_wait()?.is_some() {
                    let reported = self.folder.join(format!("reported.{number}"));
                    let reported = fs::read_to_string(reported).unwrap_or_default();
                    bail!("writer {number} has given up: {reported}");
                }
            }
            Ok(self
                .counts()
                .iter()
                .zip(before)
                .all(|(now, before)| now > before))
        })?;
        ensure!(continues, "the writers do not continue");
        Ok(())
    }

    /// Waits until the board of `airports` has advanced.
    pub(super) fn expect_projection(&self, cluster: &mut Cluster) -> Result<()> {
        const POSITION: &str =
            "SELECT position FROM eventcore.projections WHERE name = 'airport_board'";
        if self.workload == Workload::Plain {
            return Ok(());
        }
        let position = || -> u64 {
            let leader = cluster.leader();
            let answer = leader.and_then(|leader| cluster.query(leader, POSITION));
            answer.and_then(|answer| answer.parse().ok()).unwrap_or(0)
        };
        let before = position();
        let advances = wait_until(PATIENCE, || Ok(position() > before))?;
        ensure!(advances, "the board does not advance");
        Ok(())
    }

    /// Kills the writers, and counts the commands that they stored.
    pub(super) fn end_and_check(mut self) -> Result<Verdict> {
        for writer in &mut self.writers {
            writer.kill()?;
            writer.wait()?;
        }
        let files = self.numbers().map(|number| self.acknowledged(number));
        self.check(&files.collect::<Vec<_>>())
    }

    fn check(&self, acknowledged: &[PathBuf]) -> Result<Verdict> {
        let verdict = self.folder.join("verdict");
        let _ = fs::remove_file(&verdict);
        let mut command = Command::new(&self.program);
        match self.workload {
            Workload::Airports => command.args(["--database", &self.url, "--verdict"]),
            Workload::Plain => command.args(["check", "--database", &self.url, "--verdict"]),
        };
        command.arg(&verdict);
        if self.workload == Workload::Airports {
            command.arg("--check");
        }
        let checked = command.args(acknowledged).output()?;
        load(&verdict, &checked.stderr)
    }
}

fn load(verdict: &Path, errors: &[u8]) -> Result<Verdict> {
    Verdict::load(verdict).map_err(|_| {
        let errors = String::from_utf8_lossy(errors);
        anyhow::anyhow!("the store cannot be checked: {}", errors.trim())
    })
}

impl Drop for Work {
    fn drop(&mut self) {
        for writer in &mut self.writers {
            let _ = writer.kill();
            let _ = writer.wait();
        }
    }
}
