//! The disk of the PostgreSQL server fills up, either for its tables or for its log; then it panics and exits.

use std::{
    fs::{self, File, OpenOptions},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{
    Table, full,
    server::{PATIENCE, PATIENT},
};
use crate::rig::{
    Disk, Rig, Wrapper, Writer, pause,
    server::{Server, as_server},
    wait_until,
};

/// Messages that the server must have logged, so that the disk was full for its tables and for its log.
const MUST_HAVE_LOGGED: [(&str, &str); 2] = [
    ("ERROR:", "No space left on device"),
    ("PANIC:", "No space left on device"),
];

pub(super) fn inject(rig: &Rig, table: &mut Table) -> Result<()> {
    rig.clear()?;
    let disk = Disk::new(rig.path("image"), rig.path("disk"), "256M")?;
    let server = Arc::new(Server::new(disk.folder(), &["--wal-segsize=1"])?);
    let log = rig.path("log");
    // Makes its log need new files.
    let supervisor = Supervisor::start(&server, &["wal_recycle=off"], &log)?;
    wait_until(Duration::from_mins(1), || Ok(server.is_ready()))?;
    let url = server.url();
    let mut writer = Writer::start(rig, 1, &url, &Wrapper::default(), &PATIENT)?;
    let rounds = full::rounds(rig, &disk, &mut writer, PATIENCE, |round| {
        pause();
        if round.is_multiple_of(2) {
            fill_log(&disk, &server, &supervisor)?;
        }
        Ok(())
    })?;
    full::judge_reports(&writer)?;
    writer.kill()?;
    let verdict = rig.check(&url)?;
    let ends = supervisor.ends();
    drop(supervisor);
    sleep(Duration::from_millis(200));
    let logged = fs::read_to_string(&log)?;
    for (level, message) in MUST_HAVE_LOGGED {
        ensure!(
            logged
                .lines()
                .any(|line| line.contains(level) && line.contains(message)),
            "the server was never so full that it logged `{level} … {message}`"
        );
    }
    ensure!(ends > 0, "the server never ended for want of room");
    table.clean("PostgreSQL: disk full and back", rounds, verdict)
}

/// Leaves some space for tables, and none for the next file of the log, which is needed now: the server panics, and exits
/// again when recovery needs the file.
fn fill_log(disk: &Disk, server: &Server, supervisor: &Supervisor) -> Result<()> {
    let filler = OpenOptions::new().write(true).open(disk.path("filler"))?;
    let size = filler.metadata()?.len();
    filler.set_len(size.saturating_sub(1000 << 10))?;
    let before = supervisor.ends();
    wait_until(Duration::from_secs(20), || {
        server.try_execute("SELECT pg_switch_wal()");
        Ok(supervisor.ends() > before)
    })?;
    Ok(())
}

/// Starts the server, and again whenever it has ended. Dropping it ends both.
struct Supervisor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    server: Arc<Server>,
}

#[derive(Default)]
struct Shared {
    is_over: AtomicBool,
    ends: AtomicUsize,
}

impl Supervisor {
    fn start(server: &Arc<Server>, settings: &[&str], log: &std::path::Path) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let arguments = server.arguments(settings);
        let file = File::create(log)?;
        let (thread_shared, thread_server) = (shared.clone(), server.clone());
        let thread = thread::spawn(move || {
            while !thread_shared.is_over.load(Ordering::SeqCst) {
                let Ok((out, error)) = file
                    .try_clone()
                    .and_then(|out| Ok((out, file.try_clone()?)))
                else {
                    return;
                };
                let child = as_server(thread_server.program("postgres"))
                    .arg("-D")
                    .arg(thread_server.data())
                    .args(&arguments)
                    .stdin(Stdio::null())
                    .stdout(out)
                    .stderr(error)
                    .spawn();
                if let Ok(mut child) = child {
                    let _ = child.wait();
                }
                thread_shared.ends.fetch_add(1, Ordering::SeqCst);
                sleep(Duration::from_millis(200));
            }
        });
        Ok(Self {
            shared,
            thread: Some(thread),
            server: server.clone(),
        })
    }

    fn ends(&self) -> usize {
        self.shared.ends.load(Ordering::SeqCst)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        while self
            .thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
        {
            self.server.kill();
            sleep(Duration::from_millis(50));
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
