//! The faults. Each has a control: a broken store or system, in which the same count must find the damage.

mod clock;
mod cut;
mod failing_disk;
mod failing_reads;
mod full;
mod kill;
mod power;
mod server;
mod server_full;
mod server_power;

use std::fmt;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use eventcore_faults::verdict::Verdict;

use crate::rig::Rig;

/// A fault that is injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// Kill -9 of the writer; control: commits are acknowledged before they are durable
    Kill,
    /// The disk as it is when the power goes; control: fsync does nothing
    Power,
    /// The disk is full, and has room again; control: it must have been full, and have been reported as such
    Full,
    /// The disk fails to write, and the power goes; control: the errors of fsync are kept from the writer
    Disk,
    /// The disk fails to read, and reads again; control: the reads must have failed
    Read,
    /// The clock is set back an hour while it writes; control: the times in the log must go back
    Clock,
    /// Kill -9 of the PostgreSQL server; control: `synchronous_commit` is off
    Server,
    /// The PostgreSQL server's disk as it is when the power goes; control: `fsync` is off
    ServerPower,
    /// The PostgreSQL server's disk is full, and has room again; control: a table and the log must have found it full
    ServerFull,
    /// Connections to PostgreSQL are cut, wherever a commit is; control: a store that does not recognize its own commits
    Cut,
}

impl Fault {
    /// Injects the fault, and adds its rows to the table.
    pub(crate) fn inject(self, rig: &Rig, table: &mut Table) -> Result<()> {
        let injected = match self {
            Self::Kill => kill::inject(rig, table),
            Self::Power => power::inject(rig, table),
            Self::Full => full::inject(rig, table),
            Self::Disk => failing_disk::inject(rig, table),
            Self::Read => failing_reads::inject(rig, table),
            Self::Clock => clock::inject(rig, table),
            Self::Server => server::inject(rig, table),
            Self::ServerPower => server_power::inject(rig, table),
            Self::ServerFull => server_full::inject(rig, table),
            Self::Cut => cut::inject(rig, table),
        };
        injected.with_context(|| format!("fault {self:?}"))
    }
}

/// The rows of the guide's table.
#[derive(Default)]
pub(crate) struct Table(Vec<(&'static str, u32, Verdict)>);

impl Table {
    /// Adds a count, which must be clean and not empty.
    pub(crate) fn clean(
        &mut self,
        name: &'static str,
        rounds: u32,
        verdict: Verdict,
    ) -> Result<()> {
        println!("{name}: {verdict}");
        ensure!(verdict.is_clean(), "the count is not clean: {verdict}");
        ensure!(verdict.acknowledged > 0, "nothing was acknowledged");
        self.0.push((name, rounds, verdict));
        Ok(())
    }

    /// Adds the count of a control, which must have found the damage.
    pub(crate) fn found(
        &mut self,
        name: &'static str,
        rounds: u32,
        verdict: Verdict,
        broken: impl FnOnce(&Verdict) -> usize,
    ) -> Result<()> {
        println!("{name}: {verdict}");
        ensure!(
            broken(&verdict) > 0,
            "the control broke nothing, so the count proves nothing"
        );
        self.0.push((name, rounds, verdict));
        Ok(())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | rounds | acknowledged | lost | doubled | torn |"
        )?;
        write!(f, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
        for (name, rounds, verdict) in &self.0 {
            write!(
                f,
                "\n| {name} | {rounds} | {} | {} | {} | {} |",
                verdict.acknowledged, verdict.lost, verdict.doubled, verdict.torn
            )?;
        }
        Ok(())
    }
}
