//! A disk with less space behind it than it promises: when that is used up, writes fail. Then the power fails.
//!
//! Each round has a new disk, since nothing continues with one that has failed.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use eventcore_faults::verdict::Verdict;

use super::Table;
use crate::{
    rig::{
        Disk, Rig, Wrapper, Writer, copy_image, fill, need, pause, run, sudo, try_run, wait_until,
    },
    writer::failure::Cause,
};

/// A library whose fsync works, but hides its errors.
const SILENT: &str = "#include <unistd.h>
#include <sys/syscall.h>
int fsync(int file) { syscall(SYS_fsync, file); return 0; }
int fdatasync(int file) { syscall(SYS_fdatasync, file); return 0; }
";

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    let verdict = rounds(rig, &Wrapper::default(), true)?;
    table.clean("disk fails to write, then power loss", rig.rounds, verdict)?;
    let library = silent(rig)?;
    let wrapper = Wrapper::environment(&[("LD_PRELOAD", &library)]);
    // Not each round loses something: the failure may come when nothing is on its way to the disk.
    let mut verdict = Verdict::default();
    for _ in 0..10 {
        verdict = rounds(rig, &wrapper, false)?;
        if verdict.lost > 0 {
            break;
        }
    }
    let name = "control: nobody is told that fsync failed";
    table.found(name, rig.rounds, verdict, |verdict| verdict.lost)
}

fn silent(rig: &Rig) -> Result<String> {
    need("cc", "gcc")?;
    let (source, library) = (rig.path("silent.c"), rig.path("silent.so"));
    fs::write(&source, SILENT)?;
    run(Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source))?;
    Ok(library.display().to_string())
}

fn rounds(rig: &Rig, wrapper: &Wrapper, is_told: bool) -> Result<Verdict> {
    rig.clear()?;
    let mut sum = Verdict::default();
    for round in 1..=rig.rounds {
        sum.add(&one(rig, round, wrapper, is_told)?);
    }
    Ok(sum)
}

/// A file system in memory that is smaller than the disk in it. Dropping it unmounts it.
struct Thin<'a>(&'a Path);

impl Drop for Thin<'_> {
    fn drop(&mut self) {
        try_run(sudo("umount").arg("-l").arg(self.0));
    }
}

fn one(rig: &Rig, round: u32, wrapper: &Wrapper, is_told: bool) -> Result<Verdict> {
    let (memory, copy) = (rig.path("thin"), rig.path("copy"));
    fs::create_dir_all(&memory)?;
    run(sudo("mount")
        .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
        .arg(&memory))
    .context("cannot mount a tmpfs; it takes root")?;
    let thin = Thin(&memory);
    run(sudo("chmod").arg("777").arg(&memory))?;
    {
        let disk = Disk::new(memory.join("image"), rig.path("disk"), "256M")?;
        let database = disk.path("events.db").display().to_string();
        let mut writer = Writer::start(rig, round, &database, wrapper, &[])?;
        // While the log still grows, or when it is checkpointed.
        if round.is_multiple_of(2) {
            pause();
        }
        fill(&memory.join("filler"));
        let has_ended = wait_until(Duration::from_mins(1), || Ok(!writer.is_running()?))?;
        ensure!(has_ended, "the writer continues after the disk has failed");
        if is_told {
            let is_reported = writer
                .failures()
                .any(|failure| failure.cause == Cause::Failed);
            ensure!(
                is_reported,
                "an error says something else: {}",
                writer.last_line()
            );
        }
        // The power fails.
        copy_image(disk.image(), &copy)?;
    }
    drop(thin);
    let image = rig.path("image");
    fs::rename(&copy, &image)?;
    let disk = Disk::existing(image, rig.path("disk"))?;
    let database = disk.path("events.db").display().to_string();
    rig.check_of(&database, &[round])
        .or_else(|_| rig.all_lost(&[round]))
}
