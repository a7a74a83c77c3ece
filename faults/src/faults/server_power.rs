//! Power loss of the PostgreSQL server.

use std::{thread::sleep, time::Duration};

use anyhow::Result;
use eventcore_faults::verdict::Verdict;

use super::{
    Table,
    server::{PATIENCE, PATIENT},
};
use crate::rig::{Disk, Rig, Wrapper, Writer, copy_image, pause, server::Server};

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    let (rounds_run, verdict) = rounds(rig, &[])?;
    table.clean("PostgreSQL: power loss", rounds_run, verdict?)?;
    let (rounds_run, verdict) = rounds(rig, &["fsync=off"])?;
    // A server that does not even start has lost everything.
    let verdict = verdict.or_else(|_| rig.all_lost(&[1]))?;
    table.found("control: `fsync` is off", rounds_run, verdict, |verdict| {
        verdict.lost
    })
}

/// Returns the number of rounds, and the count or the reason why the server cannot be queried.
fn rounds(rig: &Rig, settings: &[&str]) -> Result<(u32, Result<Verdict>)> {
    rig.clear()?;
    let mut disk = Disk::new(rig.path("image"), rig.path("disk"), "512M")?;
    let server = Server::new(disk.folder(), &[])?;
    server.start(settings)?;
    let mut writer = Writer::start(rig, 1, &server.url(), &Wrapper::default(), &PATIENT)?;
    let copy = rig.path("copy");
    let mut rounds_run = 0;
    let mut outcome = Ok(());
    for round in 1..=rig.rounds {
        rounds_run = round;
        pause();
        server.freeze();
        copy_image(disk.image(), &copy)?;
        server.kill();
        sleep(Duration::from_millis(200));
        disk.restore(&copy)?;
        outcome = server
            .start(settings)
            .and_then(|()| writer.expect_progress(PATIENCE));
        if outcome.is_err() {
            break;
        }
    }
    drop(writer);
    let verdict = outcome.and_then(|()| rig.check(&server.url()));
    server.kill();
    sleep(Duration::from_millis(200));
    Ok((rounds_run, verdict))
}
