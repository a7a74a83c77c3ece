//! Reads of the SQLite file fail for a second at a time.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::Table;
use crate::rig::{Rig, Wrapper, Writer, need, signal};

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    need("strace", "strace")?;
    rig.clear()?;
    let database = rig.path("events.db").display().to_string();
    let mut writer = Writer::start(rig, 1, &database, &Wrapper::default(), &["--persevere"])?;
    let mut injected = 0;
    for _ in 0..rig.rounds {
        let trace = rig.path("trace");
        let mut tracer = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&trace)
            .args(["-p", &writer.id().to_string(), "-P", &database])
            .args(["-P", &format!("{database}-wal"), "-e", "trace=pread64"])
            .args(["-e", "inject=pread64:error=EIO"])
            .stderr(Stdio::null())
            .spawn()?;
        sleep(Duration::from_secs(1));
        signal(tracer.id(), Signal::SIGTERM);
        tracer.wait()?;
        writer.expect_progress(Duration::from_secs(30))?;
        injected += fs::read_to_string(&trace)?.matches("INJECTED").count();
    }
    ensure!(injected > 0, "no read has failed");
    writer.kill()?;
    let verdict = rig.check(&database)?;
    table.clean("disk fails to read, and reads again", rig.rounds, verdict)
}
