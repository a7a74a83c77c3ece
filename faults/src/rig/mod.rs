//! The tools of a fault: writers, disks that can be cut off, and servers that can be killed.

mod disk;
pub(crate) mod server;
mod tools;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Result;
pub(crate) use disk::{Disk, copy_image, fill};
use eventcore_faults::verdict::Verdict;
use tempfile::TempDir;
pub(crate) use tools::{need, output, run, signal, sudo, try_run};
pub(crate) use writer::{Wrapper, Writer};

/// A scratch folder with the files of writers, and the rows of the table so far.
pub(crate) struct Rig {
    folder: TempDir,
    /// Rounds of each fault.
    pub(crate) rounds: u32,
    /// This program, which is also the writer and the check.
    program: PathBuf,
}

impl Rig {
    pub(crate) fn new(rounds: u32) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            rounds,
            program: std::env::current_exe()?,
        })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of a writer's acknowledgements.
    pub(crate) fn acknowledged(&self, writer: u32) -> PathBuf {
        self.path(&format!("acknowledged.{writer}"))
    }

    /// Returns the path of a writer's failure reports.
    pub(crate) fn reported(&self, writer: u32) -> PathBuf {
        self.path(&format!("reported.{writer}"))
    }

    /// Removes the files of earlier writers and their SQLite database.
    pub(crate) fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.folder())? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if ["acknowledged.", "reported.", "events.db"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Counts what is stored of all writers' commands.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(crate) fn check(&self, database: &str) -> Result<Verdict> {
        let mut writers = Vec::new();
        for entry in fs::read_dir(self.folder())? {
            let name = entry?.file_name();
            if let Some(number) = name.to_string_lossy().strip_prefix("acknowledged.") {
                writers.push(number.parse()?);
            }
        }
        self.check_of(database, &writers)
    }

    /// Counts what is stored of these writers' commands.
    pub(crate) fn check_of(&self, database: &str, writers: &[u32]) -> Result<Verdict> {
        let verdict = self.path("verdict");
        let _ = fs::remove_file(&verdict);
        let mut check = std::process::Command::new(&self.program);
        check
            .args(["check", "--database", database])
            .arg("--verdict")
            .arg(&verdict);
        for writer in writers {
            check.arg("--refused").arg(self.reported(*writer));
        }
        check.args(writers.iter().map(|writer| self.acknowledged(*writer)));
        let checked = check.output()?;
        Verdict::load(&verdict).map_err(|_| {
            let message = String::from_utf8_lossy(&checked.stderr);
            anyhow::anyhow!("the store cannot be checked: {}", message.trim())
        })
    }

    /// Counts everything acknowledged as lost, for a store that cannot be read.
    pub(crate) fn all_lost(&self, writers: &[u32]) -> Result<Verdict> {
        let mut verdict = Verdict::default();
        for writer in writers {
            verdict.acknowledged += count_lines(&self.acknowledged(*writer))?;
        }
        verdict.lost = verdict.acknowledged;
        Ok(verdict)
    }
}

/// Returns the number of complete lines of a file.
pub(crate) fn count_lines(path: &Path) -> Result<usize> {
    Ok(fs::read_to_string(path)?.matches('\n').count())
}

/// Waits for 200 to 500 ms, so that the fault strikes at a random moment.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(fastrand::u64(200..500)));
}

/// Checks every 100 ms until the condition holds, and returns `true`, or `false` after `limit`.
pub(crate) fn wait_until(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let started = std::time::Instant::now();
    loop {
        if is_so()? {
            return Ok(true);
        }
        if started.elapsed() >= limit {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
