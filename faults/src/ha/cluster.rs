//! Three PostgreSQL servers under Patroni and one etcd, in a scratch folder and on free ports.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use nix::unistd::Uid;
use tempfile::TempDir;

use super::{
    PATIENCE, SynchronousMode,
    node::{Node, NodeSettings},
};
use crate::rig::{
    need, output, run,
    server::{password, programs},
    try_run, wait_until,
};

const PYTHON: &str = "/usr/bin/python3";

/// A running cluster. Dropping it ends all of its processes.
pub(super) struct Cluster {
    folder: TempDir,
    nodes: Vec<Node>,
    etcd: Child,
    password: String,
    mode: SynchronousMode,
}

impl Cluster {
    /// Installs what is missing, starts the cluster, and waits until it is healthy.
    pub(super) fn start(mode: SynchronousMode, strict: bool) -> Result<Self> {
        let programs = programs()?;
        need("etcd", "etcd-server")?;
        if !try_run(Command::new(PYTHON).args(["-m", "pip", "--version"])) {
            need("pip3", "python3-pip")?;
        }
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        println!("installing Patroni into a scratch folder");
        run(Command::new(PYTHON)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--root-user-action=ignore",
            ])
            .arg("--target")
            .arg(folder.path().join("python"))
            .args(["patroni[etcd3]==4.*", "psycopg2-binary"]))
        .context("pip cannot install Patroni")?;
        run(Command::new("chmod")
            .args(["-R", "a+rX"])
            .arg(folder.path()))?;
        if Uid::effective().is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()))?;
        }
        let ports = free_ports(8)?;
        let [client, peer] = [port(&ports, 6)?, port(&ports, 7)?];
        let password = password();
        println!("starting etcd and three nodes, synchronous_mode {mode:?}");
        let etcd = start_etcd(folder.path(), client, peer)?;
        let mut cluster = Self {
            folder,
            nodes: Vec::new(),
            etcd,
            password,
            mode,
        };
        for number in 0..3 {
            let settings = NodeSettings {
                number,
                port: port(&ports, number)?,
                rest: port(&ports, number + 3)?,
                etcd: client,
                programs: &programs,
                password: &cluster.password,
                mode,
                strict,
            };
            let node = Node::start(cluster.folder.path(), &settings)?;
            cluster.nodes.push(node);
        }
        cluster.expect_well()?;
        Ok(cluster)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the URL of the node that accepts writes.
    pub(super) fn url(&self) -> String {
        let hosts = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()));
        format!(
            "postgres://eventcore:{}@{}/postgres?target_session_attrs=read-write",
            self.password,
            hosts.collect::<Vec<_>>().join(",")
        )
    }

    fn node(&self, number: usize) -> Option<&Node> {
        self.nodes.get(number)
    }

    /// Runs a query on a node; `None` if it does not answer.
    pub(super) fn query(&self, number: usize, sql: &str) -> Option<String> {
        self.node(number)?.query(sql, &self.password)
    }

    /// Returns the node that accepts writes, among those that are not paused.
    pub(super) fn leader(&self) -> Option<usize> {
        (0..self.nodes.len()).find(|number| {
            self.node(*number).is_some_and(|node| !node.is_paused())
                && self.query(*number, "SELECT pg_is_in_recovery()").as_deref() == Some("f")
        })
    }

    /// Returns `true` if no replica is connected to the node.
    pub(super) fn is_alone(&self, number: usize) -> bool {
        let replicas = self.query(number, "SELECT count(*) FROM pg_stat_replication");
        replicas.as_deref() == Some("0")
    }

    /// Returns `true` if two replicas stream, and, with synchronous replication, commits wait for one of them.
    fn is_well(&self) -> bool {
        const STREAMING: &str =
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        const WAITED_FOR: &str =
            "SELECT count(*) > 0 FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
        self.leader().is_some_and(|leader| {
            self.query(leader, STREAMING).as_deref() == Some("2")
                && (self.mode == SynchronousMode::Off
                    || self.query(leader, WAITED_FOR).as_deref() == Some("t"))
        })
    }

    pub(super) fn expect_well(&self) -> Result<()> {
        let is_well = wait_until(PATIENCE, || Ok(self.is_well()))?;
        ensure!(is_well, "the cluster is not well:\n{}", self.last_lines());
        Ok(())
    }

    fn last_lines(&self) -> String {
        let logs = self.nodes.iter().map(Node::last_lines);
        logs.collect::<Vec<_>>().join("\n")
    }

    pub(super) fn pause(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.pause();
        }
    }

    pub(super) fn resume(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.resume();
        }
    }

    pub(super) fn kill(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.kill();
        }
    }

    /// Starts a node again if it was killed.
    pub(super) fn restart(&mut self, number: usize) -> Result<()> {
        match self.nodes.get_mut(number) {
            Some(node) => node.restart(),
            None => Ok(()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}

/// Returns the other two nodes.
pub(super) fn replicas_of(leader: usize) -> [usize; 2] {
    match leader {
        0 => [1, 2],
        1 => [0, 2],
        _ => [0, 1],
    }
}

/// Returns a command that runs as the user whom PostgreSQL and Patroni accept. `setpriv` becomes the program, so that the
/// process that is killed is the one that was started.
pub(super) fn as_postgres(folder: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if Uid::effective().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
            .arg(program)
            .env("HOME", folder);
        command
    } else {
        Command::new(program)
    };
    command
        .env("PYTHONPATH", folder.join("python"))
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

/// Appends what a process writes to a log.
pub(super) fn log(command: &mut Command, path: PathBuf) -> Result<()> {
    let file = File::options().append(true).create(true).open(path)?;
    command.stdout(file.try_clone()?).stderr(file);
    Ok(())
}

fn start_etcd(folder: &Path, client: u16, peer: u16) -> Result<Child> {
    let (client, peer) = (
        format!("http://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    // Only the path of the program is looked up.
    let program = output(Command::new("sh").args(["-c", "command -v etcd"]))?;
    let mut command = as_postgres(folder, program.trim());
    command
        .args(["--name", "etcd", "--data-dir"])
        .arg(folder.join("etcd"))
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("etcd={peer}")]);
    log(&mut command, folder.join("etcd.log"))?;
    Ok(command.spawn()?)
}

/// Returns ports that are free at this moment.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<std::io::Result<Vec<_>>>()?;
    let ports = listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

fn port(ports: &[u16], index: usize) -> Result<u16> {
    ports.get(index).copied().context("too few ports")
}
