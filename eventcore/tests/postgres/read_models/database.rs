//! A store, a client beside it, and runs of projections to their end.

use std::time::Duration;

use eventcore::{
    Position,
    postgres::{PostgresConfig, PostgresEventStore, PostgresTransaction, tokio_postgres},
    projection::{
        ErrorPolicy, Projection, ProjectionError, ProjectionRunner, RebuildOutcome, wait_for,
    },
};
use tokio_postgres::{Client, NoTls};

use super::{dump::dump, script::Script};
use crate::{projection::add, server};

pub const SOON: Duration = Duration::from_mins(10);

/// A store with some events.
pub struct Database {
    pub store: PostgresEventStore,
    /// A stranger to the store, and a superuser.
    pub client: Client,
    pub url: String,
    /// The schema of the live read model `model`.
    pub live: String,
    /// The schema of the store.
    pub schema: String,
}

impl Database {
    pub async fn with_events(events: u64) -> Self {
        Self::of(server::config(), events).await
    }

    /// In a database of its own.
    pub async fn alone(events: u64) -> Self {
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let url = server::url();
        let create = format!("CREATE DATABASE {name}");
        connect(&url).await.batch_execute(&create).await.unwrap();
        let (server, parameters) = match url.split_once('?') {
            Some((server, parameters)) => (server, format!("?{parameters}")),
            None => (&*url, String::new()),
        };
        let (server, _) = server.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}{parameters}");
        let config = PostgresConfig::new(&url).unwrap();
        let config = server::patient(config.schema(name).unwrap());
        Self::reached_by(&url, config, events).await
    }

    pub async fn of(config: PostgresConfig, events: u64) -> Self {
        Self::reached_by(&server::url(), config, events).await
    }

    async fn reached_by(url: &str, config: PostgresConfig, events: u64) -> Self {
        let store = config.connect().await.unwrap();
        add(&store, 1, events).await;
        let client = connect(url).await;
        let schema = server::schema_of(&config);
        let live = store.read_model("model");
        Self {
            store,
            client,
            url: url.to_owned(),
            live,
            schema,
        }
    }

    /// Runs statements as a stranger, in which `:live` is the read model's schema and `:store` the store's.
    pub async fn run(&self, sql: &str) {
        self.client.batch_execute(&self.text(sql)).await.unwrap();
    }

    pub fn text(&self, sql: &str) -> String {
        sql.replace(":live", &self.live)
            .replace(":store", &self.schema)
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let row = self.client.query_one(&self.text(sql), &[]).await.unwrap();
        row.get(0)
    }

    /// Projects all events.
    pub async fn project<P>(&self, projection: P) -> Result<(), ProjectionError>
    where
        P: Projection<PostgresTransaction>,
    {
        let head = self.head().await;
        let runner = ProjectionRunner::new(self.store.clone(), projection);
        let mut running = runner.on_error(ErrorPolicy::stop()).start();
        tokio::select! {
            ended = running.join() => return ended,
            waited = wait_for(&self.store, P::NAME, head, SOON) => waited.unwrap(),
        }
        running.stop().await
    }

    pub async fn head(&self) -> Position {
        let head = self.number("SELECT position FROM :store.sequencer").await;
        Position::new(head.unsigned_abs())
    }

    pub async fn rebuild(&self, script: Script) -> Result<RebuildOutcome, ProjectionError> {
        let runner = ProjectionRunner::new(self.store.clone(), script);
        let mut rebuild = runner.on_error(ErrorPolicy::stop()).start_rebuild();
        tokio::time::timeout(SOON, rebuild.join()).await.unwrap()
    }

    /// The name of the database.
    pub async fn name(&self) -> String {
        let sql = "SELECT current_database()::text";
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Everything in the live read model.
    pub async fn dump(&self) -> String {
        dump(&self.client, &self.live).await
    }

    /// Everything in the store, but for leases and rebuilds.
    pub async fn dump_store(&self) -> String {
        dump(&self.client, &self.schema)
            .await
            .lines()
            .filter(|line| !line.starts_with("row of projections:"))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
