//! One PostgreSQL server under its Patroni.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Result;
use nix::{sys::signal::Signal, unistd::Uid};

use super::{
    SynchronousMode,
    cluster::{as_postgres, log},
};
use crate::rig::{output, run, server::children, signal};

pub(super) struct NodeSettings<'a> {
    pub(super) number: usize,
    pub(super) port: u16,
    /// The port of Patroni's own interface.
    pub(super) rest: u16,
    pub(super) etcd: u16,
    pub(super) programs: &'a Path,
    pub(super) password: &'a str,
    pub(super) mode: SynchronousMode,
    pub(super) strict: bool,
}

pub(super) struct Node {
    /// The folder of the cluster, and that of the node in it.
    cluster: PathBuf,
    folder: PathBuf,
    psql: PathBuf,
    port: u16,
    patroni: Option<Child>,
    is_paused: bool,
}

impl Node {
    pub(super) fn start(cluster: &Path, settings: &NodeSettings) -> Result<Self> {
        let folder = cluster.join(settings.number.to_string());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("patroni.yml"), settings.to_yaml(&folder))?;
        if Uid::effective().is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(&folder))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        let mut node = Self {
            cluster: cluster.to_owned(),
            folder,
            psql: settings.programs.join("psql"),
            port: settings.port,
            patroni: None,
            is_paused: false,
        };
        node.restart()?;
        Ok(node)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Starts the node unless it runs.
    pub(super) fn restart(&mut self) -> Result<()> {
        if self.patroni.is_none() {
            let mut command = as_postgres(&self.cluster, "/usr/bin/python3");
            command
                .args(["-m", "patroni"])
                .arg(self.folder.join("patroni.yml"));
            log(&mut command, self.log())?;
            self.patroni = Some(command.spawn()?);
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    pub(super) fn last_lines(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines = log.lines().collect::<Vec<_>>();
        let last = lines.iter().rev().take(5).rev();
        last.copied().collect::<Vec<_>>().join("\n")
    }

    /// Returns all processes of the node: its Patroni, its server, and what these have started.
    fn processes(&self) -> Vec<u32> {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let server = file.lines().next().and_then(|line| line.parse().ok());
        let patroni = self.patroni.as_ref().map(Child::id);
        let mut processes = Vec::new();
        for process in patroni.into_iter().chain(server) {
            // The process id in an old file may belong to another process by now.
            let command = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            if command.contains(&*self.folder.to_string_lossy()) {
                processes.push(process);
                processes.extend(children(process));
            }
        }
        processes
    }

    fn signal(&self, what: Signal) {
        for process in self.processes() {
            signal(process, what);
        }
    }

    pub(super) fn pause(&mut self) {
        self.is_paused = true;
        self.signal(Signal::SIGSTOP);
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
        self.signal(Signal::SIGCONT);
    }

    pub(super) fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.is_paused = false;
        if let Some(mut patroni) = self.patroni.take() {
            let _ = patroni.kill();
            let _ = patroni.wait();
        }
    }

    /// Runs a query; `None` if the server does not answer.
    pub(super) fn query(&self, sql: &str, password: &str) -> Option<String> {
        let answer = output(
            Command::new("timeout")
                .arg("5")
                .arg(&self.psql)
                .args([
                    "-qAtX",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    "eventcore",
                    "-d",
                    "postgres",
                ])
                .args(["-p", &self.port.to_string(), "-c", sql])
                .env("PGPASSWORD", password)
                .env("PGCONNECT_TIMEOUT", "2")
                .stderr(Stdio::null()),
        );
        answer.ok().map(|answer| answer.trim().to_owned())
    }
}

impl NodeSettings<'_> {
    fn to_yaml(&self, folder: &Path) -> String {
        let Self {
            number,
            port,
            rest,
            etcd,
            password,
            strict,
            ..
        } = self;
        let (folder, programs) = (folder.display(), self.programs.display());
        let synchronous = match self.mode {
            SynchronousMode::On => "true",
            SynchronousMode::Quorum => "quorum",
            SynchronousMode::Off => "false",
        };
        // The shortest lease that Patroni accepts: a leader that is silent for 20 s has lost it.
        format!(
            r#"scope: eventcore
name: node{number}
restapi: {{ listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}" }}
etcd3: {{ hosts: "127.0.0.1:{etcd}" }}
watchdog: {{ mode: "off" }}
bootstrap:
  initdb: [{{ encoding: UTF8 }}, {{ locale: C.UTF-8 }}, data-checksums]
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    maximum_lag_on_failover: 10737418240
    synchronous_mode: {synchronous}
    synchronous_mode_strict: {strict}
    postgresql:
      use_pg_rewind: true
      parameters:
        synchronous_commit: "on"
        wal_sender_timeout: 5s
        wal_receiver_timeout: 5s
        wal_keep_size: 1GB
        max_connections: 100
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  data_dir: "{folder}/data"
  bin_dir: "{programs}"
  pgpass: "{folder}/pgpass"
  parameters: {{ unix_socket_directories: "{folder}" }}
  pg_hba:
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication all 127.0.0.1/32 scram-sha-256
  authentication:
    superuser: {{ username: eventcore, password: {password} }}
    replication: {{ username: replicator, password: {password} }}
    rewind: {{ username: rewinder, password: {password} }}
"#
        )
    }
}
