//! A PostgreSQL server of its own, in a folder that may be on a disk that breaks.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{sys::signal::Signal, unistd::Uid};

use super::{output, run, signal, try_run};

/// A server. Dropping it kills all its processes.
pub(crate) struct Server {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    password: String,
}

/// Returns a command that runs as the user whom PostgreSQL accepts: it refuses to run as root.
pub(crate) fn as_server(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Installs PostgreSQL if it is missing, and returns the folder of its programs, which Debian keeps out of the path.
pub(crate) fn programs() -> Result<PathBuf> {
    let newest = || -> Option<PathBuf> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = versions.filter_map(|entry| Some(entry.ok()?.path()));
        let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
        let newest = folders.max_by_key(|path| number(path))?;
        Some(newest.join("bin")).filter(|programs| programs.join("initdb").exists())
    };
    if let Some(programs) = newest() {
        return Ok(programs);
    }
    // Installs the packages if they are missing.
    run(Command::new("bash").args(["scripts/postgres", "true"]))?;
    newest().context("PostgreSQL is installed, but its programs are not where Debian puts them")
}

impl Server {
    /// Creates a server in `folder`, with further arguments of `initdb`.
    pub(crate) fn new(folder: &Path, arguments: &[&str]) -> Result<Self> {
        let server = Self {
            programs: programs()?,
            data: folder.join("data"),
            // Below the ports that the system gives to clients.
            port: fastrand::u16(20_000..32_000),
            password: password(),
        };
        let _ = fs::remove_dir_all(&server.data);
        fs::create_dir_all(&server.data)?;
        let secret = folder.join("password");
        fs::write(&secret, &server.password)?;
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
        if Uid::effective().is_root() {
            run(Command::new("chown")
                .arg("postgres")
                .arg(&server.data)
                .arg(&secret))?;
        }
        run(as_server(server.programs.join("initdb"))
            .args(["-U", "eventcore", "--auth=scram-sha-256", "--encoding=UTF8"])
            .arg("--locale=C.UTF-8")
            .arg("--pwfile")
            .arg(&secret)
            .arg("-D")
            .arg(&server.data)
            .args(arguments))?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// Returns the URL of the server with another port, such as that of a proxy.
    pub(crate) fn url_at(&self, port: u16) -> String {
        let password = &self.password;
        format!("postgres://eventcore:{password}@127.0.0.1:{port}/postgres")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the arguments of the server, `settings` among them.
    pub(crate) fn arguments(&self, settings: &[&str]) -> Vec<String> {
        let mut arguments = vec![
            "-p".to_owned(),
            self.port.to_string(),
            "-h".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let own = [
            "unix_socket_directories=",
            "max_wal_size=64MB",
            "min_wal_size=32MB",
        ];
        for setting in own.iter().chain(settings) {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        arguments
    }

    /// Starts the server with settings such as `fsync=off`, and waits until it answers.
    pub(crate) fn start(&self, settings: &[&str]) -> Result<()> {
        let log = self.data.join("log");
        for _ in 0..20 {
            let started = try_run(
                as_server(self.program("pg_ctl"))
                    .args(["-w", "-t", "120", "start", "-D"])
                    .arg(&self.data)
                    .arg("-l")
                    .arg(&log)
                    .arg("-o")
                    .arg(self.arguments(settings).join(" ")),
            );
            if started {
                return Ok(());
            }
            // Processes of the previous server may hold its memory for a moment.
            sleep(Duration::from_millis(200));
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        bail!(
            "the server does not start: {}",
            log.lines().last().unwrap_or_default()
        )
    }

    /// Returns `true` if the server accepts connections.
    pub(crate) fn is_ready(&self) -> bool {
        try_run(
            Command::new(self.program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p"])
                .arg(self.port.to_string()),
        )
    }

    /// Runs a statement that may fail.
    pub(crate) fn try_execute(&self, sql: &str) {
        try_run(Command::new(self.program("psql")).args(["-X", &self.url(), "-c", sql]));
    }

    fn processes(&self) -> Vec<u32> {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let Some(postmaster) = file.lines().next().and_then(|line| line.parse().ok()) else {
            return Vec::new();
        };
        let mut processes = vec![postmaster];
        processes.extend(children(postmaster));
        processes
    }

    /// Pauses all processes of the server.
    pub(crate) fn freeze(&self) {
        for process in self.processes() {
            signal(process, Signal::SIGSTOP);
        }
    }

    /// Ends all processes of the server with kill -9.
    pub(crate) fn kill(&self) {
        for process in self.processes() {
            // Some end by themselves meanwhile.
            signal(process, Signal::SIGKILL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the processes that a process has started.
pub(crate) fn children(process: u32) -> Vec<u32> {
    let listed = output(Command::new("ps").args(["-o", "pid=", "--ppid", &process.to_string()]));
    let listed = listed.unwrap_or_default();
    let numbers = listed.lines().filter_map(|line| line.trim().parse().ok());
    numbers.collect()
}

/// Returns a random password.
pub(crate) fn password() -> String {
    std::iter::repeat_with(fastrand::alphanumeric)
        .take(24)
        .collect()
}
