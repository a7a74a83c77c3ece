//! Runs programs of the system, and installs missing ones.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

/// Returns a command that runs as root, through `sudo` if necessary.
pub(crate) fn sudo(program: &str) -> Command {
    if Uid::effective().is_root() {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg(program);
        command
    }
}

/// Runs a command to its end.
///
/// # Errors
/// If it fails, with what it wrote to standard error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs a command that may fail, such as one that cleans up.
pub(crate) fn try_run(command: &mut Command) -> bool {
    let ran = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// If it fails, with what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_owned();
    let ran = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        ran.status.success(),
        "{} failed: {}",
        program.display(),
        String::from_utf8_lossy(&ran.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Installs a Debian package if a program of it is missing.
pub(crate) fn need(program: &str, package: &str) -> Result<()> {
    let is_there = || try_run(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
    if is_there() {
        return Ok(());
    }
    eprintln!("installing {package}");
    run(sudo("apt-get").args(["update", "-q"]))?;
    run(sudo("apt-get").args(["install", "-qy", "--no-install-recommends", package]))?;
    if !is_there() {
        bail!("{program} is missing although {package} is installed");
    }
    Ok(())
}

/// Sends a signal to a process. Returns `false` if it has ended.
pub(crate) fn signal(process: u32, signal: Signal) -> bool {
    i32::try_from(process).is_ok_and(|process| kill(Pid::from_raw(process), signal).is_ok())
}
