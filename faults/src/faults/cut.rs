//! Connections to PostgreSQL are cut at random moments, while a commit or its answer is on its way.

use std::{
    net::TcpStream,
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, ensure};
use eventcore_faults::verdict::Verdict;
use nix::sys::signal::Signal;

use super::{Table, server::PATIENCE};
use crate::rig::{
    Rig, Wrapper, Writer, need,
    server::{Server, children},
    signal, wait_until,
};

const CUTS_PER_ROUND: u32 = 25;

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    need("socat", "socat")?;
    let server = Server::new(rig.folder(), &[])?;
    server.start(&[])?;
    let between = Between::start(server.port())?;
    let url = format!("{}?sslmode=disable", server.url_at(between.port));
    let cuts = rig.rounds * CUTS_PER_ROUND;
    let verdict = cut(rig, cuts, &between, &url, &["--patience", "60"])?;
    table.clean("PostgreSQL: connections cut", cuts, verdict)?;
    let url = format!("{url}&schema=control");
    let verdict = cut(
        rig,
        cuts,
        &between,
        &url,
        &["--patience", "60", "--forgetful"],
    )?;
    let name = "control: one's own commits are not recognized";
    table.found(name, cuts, verdict, |verdict| verdict.doubled)
}

fn cut(rig: &Rig, cuts: u32, between: &Between, url: &str, arguments: &[&str]) -> Result<Verdict> {
    rig.clear()?;
    let mut writer = Writer::start(rig, 1, url, &Wrapper::default(), arguments)?;
    for _ in 0..cuts {
        sleep(Duration::from_millis(fastrand::u64(10..100)));
        if let Some(connection) = fastrand::choice(children(between.process.id())) {
            signal(connection, Signal::SIGKILL);
        }
    }
    writer.expect_progress(PATIENCE)?;
    writer.kill()?;
    rig.check(url)
}

/// A proxy with a process for each connection; killing the process cuts the connection.
struct Between {
    process: Child,
    port: u16,
}

impl Between {
    fn start(server: u16) -> Result<Self> {
        let port = server + 1;
        let process = Command::new("socat")
            .arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork"))
            .arg(format!("TCP:127.0.0.1:{server}"))
            .spawn()?;
        let mut between = Self { process, port };
        let listens = wait_until(Duration::from_secs(10), || {
            ensure!(between.process.try_wait()?.is_none(), "socat has ended");
            Ok(TcpStream::connect(("127.0.0.1", port)).is_ok())
        })?;
        ensure!(listens, "socat does not listen");
        Ok(between)
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
