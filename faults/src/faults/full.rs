//! The disk of the writer fills up, and gets free space again.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};

use super::Table;
use crate::{
    rig::{Disk, Rig, Wrapper, Writer, pause},
    writer::failure::Cause,
};

/// The free space that a round must leave, so that the disk does not stay full.
const ENOUGH: u64 = 6 << 20;

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    rig.clear()?;
    let disk = Disk::new(rig.path("image"), rig.path("disk"), "64M")?;
    let database = disk.path("events.db").display().to_string();
    let mut writer = Writer::start(rig, 1, &database, &Wrapper::default(), &["--persevere"])?;
    let rounds = rounds(rig, &disk, &mut writer, Duration::from_secs(10), |_| {
        pause();
        Ok(())
    })?;
    judge_reports(&writer)?;
    writer.kill()?;
    let verdict = rig.check(&database)?;
    table.clean("disk full and back", rounds, verdict)
}

/// Fills the disk and empties it again; returns the number of rounds that fit on it.
pub(super) fn rounds(
    rig: &Rig,
    disk: &Disk,
    writer: &mut Writer,
    patience: Duration,
    mut while_full: impl FnMut(u32) -> Result<()>,
) -> Result<u32> {
    for round in 1..=rig.rounds {
        pause();
        // By the writer or by someone else.
        let filler = disk.fill();
        while_full(round)?;
        fs::remove_file(filler)?;
        writer.expect_progress(patience)?;
        if disk.free()? <= ENOUGH {
            return Ok(round);
        }
    }
    Ok(rig.rounds)
}

/// Checks that the writer got the error for a full disk, and no other.
pub(super) fn judge_reports(writer: &Writer) -> Result<()> {
    let mut was_full = false;
    for failure in writer.failures() {
        ensure!(
            failure.cause == Cause::Full,
            "an error says something else: {failure}"
        );
        was_full = true;
    }
    ensure!(was_full, "the disk was never full");
    Ok(())
}
