//! A PostgreSQL server that one test has to itself.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use tokio_postgres::NoTls;

/// Ends when it is dropped.
pub struct Server {
    script: Child,
    url: String,
}

impl Server {
    pub fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/postgres");
        // It ends, and the server with it, when its input does.
        let mut script = Command::new(script)
            .args(["bash", "-c", "echo \"$EVENTCORE_POSTGRES_URL\"; read -r _"])
            .env_remove("EVENTCORE_POSTGRES_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(script.stdout.take().unwrap());
        let url = said.lines().next().unwrap().unwrap();
        Self { script, url }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs a statement on a connection of its own.
    pub async fn run(&self, sql: &str) {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        self.script.wait().unwrap();
    }
}
