//! Kill -9 of the PostgreSQL server, under a writer that continues when the server is back.

use std::time::Duration;

use anyhow::Result;
use eventcore_faults::verdict::Verdict;

use super::Table;
use crate::rig::{Rig, Wrapper, Writer, pause, server::Server};

/// The arguments of a writer that outlives its server.
pub(super) const PATIENT: [&str; 3] = ["--patience", "60", "--persevere"];
/// The time in which such a writer must continue once the server is back.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    let server = Server::new(rig.folder(), &[])?;
    server.start(&[])?;
    let verdict = rounds(rig, &server, &server.url())?;
    table.clean("PostgreSQL: kill -9 of the server", rig.rounds, verdict)?;
    let url = format!(
        "{}?schema=control&options=-c%20synchronous_commit%3Doff",
        server.url()
    );
    let verdict = rounds(rig, &server, &url)?;
    let name = "control: `synchronous_commit` is off";
    table.found(name, rig.rounds, verdict, |verdict| verdict.lost)
}

fn rounds(rig: &Rig, server: &Server, url: &str) -> Result<Verdict> {
    rig.clear()?;
    let mut writer = Writer::start(rig, 1, url, &Wrapper::default(), &PATIENT)?;
    for _ in 0..rig.rounds {
        pause();
        server.kill();
        server.start(&[])?;
        writer.expect_progress(PATIENCE)?;
    }
    writer.kill()?;
    rig.check(url)
}
