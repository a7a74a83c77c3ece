//! Repeated kill -9 of the writer at random moments, on one file.

use anyhow::Result;
use eventcore_faults::verdict::Verdict;

use super::Table;
use crate::rig::{Rig, Wrapper, Writer, pause};

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    let verdict = rounds(rig, &[])?;
    table.clean("kill -9 of the writer", rig.rounds, verdict)?;
    let verdict = rounds(rig, &["--too-early"])?;
    table.found(
        "control: acknowledged too early",
        rig.rounds,
        verdict,
        |verdict| verdict.lost,
    )
}

fn rounds(rig: &Rig, arguments: &[&str]) -> Result<Verdict> {
    rig.clear()?;
    let database = rig.path("events.db").display().to_string();
    for round in 1..=rig.rounds {
        let writer = Writer::start(rig, round, &database, &Wrapper::default(), arguments)?;
        pause();
        writer.kill()?;
        if arguments.is_empty() {
            let verdict = rig.check(&database)?;
            anyhow::ensure!(verdict.is_clean(), "after round {round}: {verdict}");
        }
    }
    rig.check(&database)
}
