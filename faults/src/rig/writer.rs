//! A writing process.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use super::{Rig, count_lines, signal, wait_until};
use crate::writer::failure::Failure;

/// The way in which a writer is started: by itself, under a tracer, or with a library loaded before others.
#[derive(Default)]
pub(crate) struct Wrapper {
    program: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Wrapper {
    /// Runs the writer under `strace`, which does not intercept signals.
    pub(crate) fn strace(arguments: &[&str]) -> Self {
        let program = ["strace", "-D"].iter().chain(arguments);
        Self {
            program: program.map(ToString::to_string).collect(),
            ..Self::default()
        }
    }

    /// Sets variables of the environment.
    pub(crate) fn environment(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter();
        Self {
            environment: variables
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Self::default()
        }
    }
}

/// A process that writes until it is killed; dropping this kills it.
pub(crate) struct Writer {
    child: Child,
    acknowledged: PathBuf,
    reported: PathBuf,
}

impl Writer {
    /// Starts a writer, and waits until it has written something, so that the fault does not hit the start.
    pub(crate) fn start(
        rig: &Rig,
        number: u32,
        database: &str,
        wrapper: &Wrapper,
        arguments: &[&str],
    ) -> Result<Self> {
        let (acknowledged, reported) = (rig.acknowledged(number), rig.reported(number));
        let mut words = wrapper
            .program
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<_>>();
        words.push(rig.program.as_os_str());
        let mut words = words.into_iter();
        let Some(program) = words.next() else {
            bail!("there is no writer to start");
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["write", "--database", database, "--first"])
            .arg(format!("{number}0000000"))
            .args(arguments)
            .envs(wrapper.environment.iter().cloned())
            .stdout(File::create(&acknowledged)?)
            .stderr(File::create(&reported)?);
        let mut writer = Self {
            child: command.spawn()?,
            acknowledged,
            reported,
        };
        while count_lines(&writer.acknowledged)? == 0 {
            writer.expect_running()?;
            sleep(Duration::from_millis(50));
        }
        Ok(writer)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// # Errors
    /// If the writer has ended, with the last line that it reported.
    pub(crate) fn expect_running(&mut self) -> Result<()> {
        if !self.is_running()? {
            bail!("the writer has ended: {}", self.last_line());
        }
        Ok(())
    }

    /// Pauses the process; only [`kill`](Self::kill) ends it then.
    pub(crate) fn freeze(&mut self) -> Result<()> {
        self.expect_running()?;
        signal(self.id(), Signal::SIGSTOP);
        Ok(())
    }

    /// Ends the process with kill -9.
    ///
    /// # Errors
    /// If it had ended by itself.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.expect_running()?;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits until the writer has had another command acknowledged.
    ///
    /// # Errors
    /// If it does not within `limit`, or has ended.
    pub(crate) fn expect_progress(&mut self, limit: Duration) -> Result<()> {
        let before = count_lines(&self.acknowledged)?;
        let acknowledged = self.acknowledged.clone();
        let has_progressed = wait_until(limit, || {
            if count_lines(&acknowledged)? > before {
                return Ok(true);
            }
            self.expect_running()?;
            Ok(false)
        })?;
        if !has_progressed {
            bail!("the writer does not continue: {}", self.last_line());
        }
        Ok(())
    }

    /// Returns the failures that the writer reported.
    pub(crate) fn failures(&self) -> impl Iterator<Item = Failure> + use<> {
        let reported = fs::read_to_string(&self.reported).unwrap_or_default();
        let failures = reported.lines().filter_map(|line| line.parse().ok());
        failures.collect::<Vec<_>>().into_iter()
    }

    /// Returns the last line that the writer reported.
    pub(crate) fn last_line(&self) -> String {
        let reported = fs::read_to_string(&self.reported).unwrap_or_default();
        reported.lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
