//! Power loss: the next round continues with the content of the disk, without data that the system had not written yet.

use anyhow::Result;
use eventcore_faults::verdict::Verdict;

use super::Table;
use crate::rig::{Disk, Rig, Wrapper, Writer, copy_image, need, pause};

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    let verdict = rounds(rig, &Wrapper::default())??;
    table.clean("power loss", rig.rounds, verdict)?;
    need("strace", "strace")?;
    let ignore = Wrapper::strace(&[
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=fsync,fdatasync",
        "-e",
        "inject=fsync,fdatasync:retval=0",
    ]);
    // A file that cannot even be opened afterwards has lost everything.
    let verdict = match rounds(rig, &ignore)? {
        Ok(verdict) => verdict,
        Err(_) => rig.all_lost(&(1..=rig.rounds).collect::<Vec<_>>())?,
    };
    table.found(
        "control: fsync does nothing",
        rig.rounds,
        verdict,
        |verdict| verdict.lost,
    )
}

/// Returns the count, or the reason why the store cannot be read.
fn rounds(rig: &Rig, wrapper: &Wrapper) -> Result<Result<Verdict>> {
    rig.clear()?;
    let mut disk = Disk::new(rig.path("image"), rig.path("disk"), "256M")?;
    let database = disk.path("events.db").display().to_string();
    let copy = rig.path("copy");
    for round in 1..=rig.rounds {
        let mut writer = Writer::start(rig, round, &database, wrapper, &[])?;
        pause();
        writer.freeze()?;
        copy_image(disk.image(), &copy)?;
        writer.kill()?;
        disk.restore(&copy)?;
    }
    Ok(rig.check(&database))
}
