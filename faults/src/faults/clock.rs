//! The clock is set back an hour while the writer writes. Nothing is ordered by time.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};

use super::Table;
use crate::rig::{Rig, Wrapper, Writer, need, output, pause};

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    need("faketime", "faketime")?;
    rig.clear()?;
    let database = rig.path("events.db").display().to_string();
    let files = output(Command::new("dpkg").args(["-L", "libfaketime"]))?;
    let library = files
        .lines()
        .find(|line| line.ends_with("libfaketimeMT.so.1"))
        .context("the package libfaketime has no libfaketimeMT.so.1")?;
    let (time, next) = (rig.path("time"), rig.path("time.new"));
    for round in 1..=rig.rounds {
        fs::write(&time, "+0")?;
        // Only the time of day; the monotonic clock does not go back.
        let wrapper = Wrapper::environment(&[
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", &time.display().to_string()),
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]);
        let writer = Writer::start(rig, round, &database, &wrapper, &[])?;
        pause();
        fs::write(&next, "-1h")?;
        fs::rename(&next, &time)?;
        pause();
        writer.kill()?;
    }
    let verdict = rig.check(&database)?;
    ensure!(
        verdict.clock_back >= usize::try_from(rig.rounds)?,
        "the clock did not go back: {verdict}"
    );
    table.clean("clock set back an hour", rig.rounds, verdict)
}
