//! Connections: opened to the host that accepts writes, pooled, and dropped if a response does not
//! arrive in time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{Manager, Metrics, Object, QueueMode, RecycleError, RecycleResult},
};
use tokio::{task::JoinHandle, time, try_join};
use tokio_postgres::{
    Client, Config, Row, Socket, Statement, config::Host, tls::MakeTlsConnect, types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::EventStoreError;
use crate::{
    Position,
    chain::chain,
    postgres::{
        PostgresConfig,
        connection::pipelined::Queued,
        connection::statement::{Parameters, Query},
        connection::tls,
        error::Failure,
    },
};

/// The connections of one store.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: deadpool::managed::Pool<Hosts>,
    location: Arc<str>,
    request_timeout: Duration,
    /// The length of the log, as far as known.
    log: Arc<AtomicU64>,
}

impl Pool {
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self, EventStoreError> {
        let tls =
            tls::connector(config.tls, config.roots()).map_err(|error| EventStoreError::Other {
                source: error.into(),
            })?;
        let hosts = Hosts {
            each: each_host(config),
            last: AtomicUsize::new(0),
            timeout: config.connect_timeout,
            tls,
            prepared: config.prepared_statements,
        };
        let connections = deadpool::managed::Pool::builder(hosts)
            .max_size(config.pool_size)
            // Prefers the connection used last: its server process is awake, and its caches and the
            // processor's are warm.
            .queue_mode(QueueMode::Lifo)
            .wait_timeout(Some(config.request_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| EventStoreError::Other {
                source: error.into(),
            })?;
        Ok(Self {
            connections,
            location: config.location().into(),
            request_timeout: config.request_timeout,
            log: Arc::default(),
        })
    }

    /// Records that the log extends to this position.
    pub(crate) fn has_seen(&self, head: Position) {
        self.log.fetch_max(head.get(), Ordering::Relaxed);
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn close(&self) {
        self.connections.close();
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Opens a connection outside the pool.
    pub(crate) async fn connect(&self) -> Result<(Client, ConnectionTask), Failure> {
        self.connections.manager().connect().await
    }

    /// Returns a connection that is not known to be broken.
    pub(crate) async fn get(&self) -> Result<Connection, Failure> {
        let session = Some(self.connections.get().await?);
        Ok(Connection {
            session,
            request_timeout: self.request_timeout,
            prepared: self.connections.manager().prepared,
            log: self.log.load(Ordering::Relaxed),
        })
    }

    /// Runs a read-only query.
    pub(crate) async fn read(
        &self,
        query: &Query,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let mut connection = self.get().await?;
        connection.prepare(query).await?;
        connection.query(query, parameters).await
    }
}

/// A connection from the pool. It is not returned to the pool if it does not respond or is no
/// longer usable.
pub(crate) struct Connection {
    session: Option<Object<Hosts>>,
    request_timeout: Duration,
    prepared: bool,
    /// The length of the log when the connection was taken from the pool.
    log: u64,
}

impl Connection {
    /// Prepares the statement. Nothing runs yet, so a failure means that nothing was sent.
    pub(crate) async fn prepare(&mut self, query: &Query) -> Result<(), Failure> {
        if !self.prepared {
            return Ok(());
        }
        let log = self.log;
        self.answer(async |session: &mut Session| session.statement(query, log).await.map(drop))
            .await
    }

    /// Runs one statement in one round trip and its own transaction; returns after the commit.
    pub(crate) async fn query(
        &mut self,
        query: &Query,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let (prepared, log) = (self.prepared, self.log);
        self.answer(async |session: &mut Session| {
            if prepared {
                let statement = session.statement(query, log).await?;
                session.client.query(&statement, parameters).await
            } else {
                let typed: Vec<_> = parameters
                    .iter()
                    .copied()
                    .zip(query.types.iter().cloned())
                    .collect();
                session.client.query_typed(&query.sql, &typed).await
            }
        })
        .await
    }

    /// Runs several statements without parameters.
    pub(crate) async fn batch(&mut self, sql: &str) -> Result<(), Failure> {
        self.answer(async |session: &mut Session| session.client.batch_execute(sql).await)
            .await
    }

    /// Runs the statements that begin a transaction and, in the same round trip, a query whose
    /// parameters are texts.
    pub(crate) async fn begin(
        &mut self,
        begin: &str,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let prepared = self.prepared;
        self.answer(async |session: &mut Session| {
            // The future that is polled first is sent first.
            let rows = if prepared {
                let statement = session.of_sql(QUALIFIED, sql).await?;
                let query = session.client.query(&statement, parameters);
                try_join!(session.client.batch_execute(begin), query)?.1
            } else {
                let typed: Vec<_> = parameters.iter().map(|text| (*text, Type::TEXT)).collect();
                let query = session.client.query_typed(sql, &typed);
                try_join!(session.client.batch_execute(begin), query)?.1
            };
            Ok(rows)
        })
        .await
    }

    /// Runs one statement that is not worth preparing.
    pub(crate) async fn query_once(&mut self, sql: &str) -> Result<Vec<Row>, Failure> {
        self.answer(async |session: &mut Session| session.client.query_typed(sql, &[]).await)
            .await
    }

    /// Runs one statement of a projection, which is prepared once for each connection and scope.
    pub(crate) async fn query_sql(
        &mut self,
        scope: Scope,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Vec<Row>, Failure> {
        let prepared = self.prepared;
        self.answer(async |session: &mut Session| {
            if prepared {
                let statement = session.of_sql(scope, sql).await?;
                session.client.query(&statement, parameters).await
            } else {
                session.client.query(sql, parameters).await
            }
        })
        .await
    }

    /// Runs one statement of a projection and returns the number of rows that it changed.
    pub(crate) async fn execute_sql(
        &mut self,
        scope: Scope,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<u64, Failure> {
        let prepared = self.prepared;
        self.answer(async |session: &mut Session| {
            if prepared {
                let statement = session.of_sql(scope, sql).await?;
                session.client.execute(&statement, parameters).await
            } else {
                session.client.execute(sql, parameters).await
            }
        })
        .await
    }

    /// Sends one statement of a projection without waiting for the response. Returns `None` if
    /// statements are not prepared here: then the statement has already run.
    pub(crate) async fn queue_sql(
        &mut self,
        scope: Scope,
        sql: &str,
        parameters: Parameters<'_>,
    ) -> Result<Option<Queued>, Failure> {
        if !self.prepared {
            return self.execute_sql(scope, sql, parameters).await.map(|_| None);
        }
        self.answer(async |session: &mut Session| {
            let statement = session.of_sql(scope, sql).await?;
            Ok(Some(Queued::send(&session.client, statement, parameters)))
        })
        .await
    }

    /// Waits for the response to a statement that was sent.
    pub(crate) async fn settle(&mut self, queued: Queued) -> Result<(), Failure> {
        self.answer(async |_: &mut Session| queued.0.await.map(drop))
            .await
    }

    /// Returns `true` if statements are prepared on this connection.
    pub(crate) fn prepares(&self) -> bool {
        self.prepared
    }

    /// Drops the connection instead of returning it to the pool.
    pub(crate) fn discard(mut self) {
        drop(DiscardOnDrop(self.session.take()));
    }

    async fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Session) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, Failure> {
        // Taken out in the meantime: if the caller is cancelled, the connection must not return to
        // the pool with a response pending.
        let mut session = DiscardOnDrop(self.session.take());
        let Some(asked) = &mut session.0 else {
            return Err(Failure::NoAnswer(self.request_timeout));
        };
        let result = match time::timeout(self.request_timeout, ask(&mut *asked)).await {
            Ok(result) => result.map_err(Failure::from),
            Err(_) => Err(Failure::NoAnswer(self.request_timeout)),
        };
        if result.as_ref().is_err_and(Failure::is_stale_statement) {
            asked.forget_statements();
        }
        if result.as_ref().map_or_else(Failure::is_refusal, |_| true) {
            self.session = session.0.take();
        }
        result
    }
}

/// A connection that is removed from the pool when this is dropped.
struct DiscardOnDrop(Option<Object<Hosts>>);

impl Drop for DiscardOnDrop {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            drop(Object::take(session));
        }
    }
}

/// One connection and the statements prepared on it. The connection is closed on drop.
pub(crate) struct Session {
    client: Arc<Client>,
    statements: HashMap<&'static str, Prepared>,
    /// The prepared statements of projections.
    of_sql: HashMap<Scope, HashMap<Box<str>, Statement>>,
    task: JoinHandle<()>,
}

/// A statement that was prepared when the log had a certain length.
struct Prepared {
    statement: Statement,
    log: u64,
}

impl Prepared {
    /// Returns `true` if the tables have outgrown the plan: the best plan for a few rows is not the
    /// best for many, and the server replans only once it has analyzed the tables, about a minute
    /// later.
    fn is_outgrown(&self, log: u64) -> bool {
        log / 2 > self.log.max(500)
    }
}

/// The object id of the schema in which unqualified names are looked up first. After a swap, the
/// same text refers to other tables.
pub(crate) type Scope = u32;

/// The scope of statements whose names are all qualified.
pub(crate) const QUALIFIED: Scope = 0;

/// The maximum number of projections' statements that a connection keeps. Texts with inlined values
/// would otherwise accumulate.
const KEPT: usize = 256;

impl Session {
    async fn statement(
        &mut self,
        query: &Query,
        log: u64,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(prepared) = self.statements.get(query.name)
            && !prepared.is_outgrown(log)
        {
            return Ok(prepared.statement.clone());
        }
        let statement = self.client.prepare_typed(&query.sql, query.types).await?;
        let prepared = Prepared {
            statement: statement.clone(),
            log,
        };
        self.statements.insert(query.name, prepared);
        Ok(statement)
    }
}

impl Session {
    /// Forgets all prepared statements. One of them no longer fits its table, so others may not
    /// either.
    fn forget_statements(&mut self) {
        self.statements.clear();
        self.of_sql.clear();
    }

    async fn of_sql(
        &mut self,
        scope: Scope,
        sql: &str,
    ) -> Result<Statement, tokio_postgres::Error> {
        if let Some(statement) = self.of_sql.get(&scope).and_then(|kept| kept.get(sql)) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        if self.of_sql.values().map(HashMap::len).sum::<usize>() >= KEPT {
            self.of_sql.clear();
        }
        let kept = self.of_sql.entry(scope).or_default();
        kept.insert(sql.into(), statement.clone());
        Ok(statement)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects to the first host that responds in time and accepts writes, starting with the last one
/// that did.
pub(crate) struct Hosts {
    each: Vec<Config>,
    last: AtomicUsize,
    timeout: Duration,
    tls: MakeRustlsConnect,
    prepared: bool,
}

/// The settings of a new connection. The transactions of projections reset both.
///
/// A prepared statement is planned once. By default, the server may find custom plans cheaper and
/// replan at each execution, which takes three times as long as a read.
///
/// Rows hidden by a policy cause an error: a reader would otherwise silently skip events.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET row_security = off";

/// The driver's connection, which transfers requests and responses as long as it is polled.
pub(crate) type ConnectionTask =
    tokio_postgres::Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

impl Hosts {
    async fn connect(&self) -> Result<(Client, ConnectionTask), Failure> {
        let last = self.last.load(Ordering::Relaxed);
        let mut failed = Failure::NoAnswer(self.timeout);
        for (index, host) in self
            .each
            .iter()
            .enumerate()
            .cycle()
            .skip(last)
            .take(self.each.len())
        {
            // The driver's timeout covers only the TCP connection, which a hanging server may still
            // accept. Boxed, because otherwise the future of every statement would have room for a
            // TLS handshake.
            let connect = Box::pin(host.connect(self.tls.clone()));
            match time::timeout(self.timeout, connect).await {
                Ok(Ok(connected)) => {
                    self.last.store(index, Ordering::Relaxed);
                    return Ok(connected);
                }
                // A server's error is more useful than the fact that a host could not be reached.
                Ok(Err(error)) if !failed.is_of_server() => failed = error.into(),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(failed)
    }
}

impl Manager for Hosts {
    type Type = Session;
    type Error = Failure;

    async fn create(&self) -> Result<Session, Failure> {
        let (client, wire) = self.connect().await?;
        let task = tokio::spawn(async move {
            if let Err(error) = wire.await {
                tracing::debug!(
                    error = chain(&Failure::from(error)),
                    "a connection to PostgreSQL ended"
                );
            }
        });
        if self.prepared {
            let settings = time::timeout(self.timeout, client.batch_execute(SETTINGS));
            settings
                .await
                .map_err(|_| Failure::NoAnswer(self.timeout))??;
        }
        Ok(Session {
            client: Arc::new(client),
            statements: HashMap::new(),
            of_sql: HashMap::new(),
            task,
        })
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Failure> {
        if session.client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}

/// Returns a separate configuration for each host, so that each has its own timeout.
fn each_host(config: &PostgresConfig) -> Vec<Config> {
    let server = &config.server;
    let (hosts, addresses, ports) = (
        server.get_hosts(),
        server.get_hostaddrs(),
        server.get_ports(),
    );
    (0..hosts.len().max(addresses.len()))
        .map(|index| {
            let mut one = Config::new();
            if let Some(user) = server.get_user() {
                one.user(user);
            }
            if let Some(password) = server.get_password() {
                one.password(password);
            }
            if let Some(database) = server.get_dbname() {
                one.dbname(database);
            }
            let mut options = server.get_options().unwrap_or_default().to_owned();
            if let Some(timeout) = config.statement_timeout {
                let space = if options.is_empty() { "" } else { " " };
                let timeout = timeout.as_millis();
                options = format!("{options}{space}-c statement_timeout={timeout}");
            }
            if !options.is_empty() {
                one.options(options);
            }
            if let Some(name) = server.get_application_name() {
                one.application_name(name);
            }
            match hosts.get(index) {
                Some(Host::Tcp(name)) => {
                    one.host(name);
                }
                #[cfg(unix)]
                Some(Host::Unix(path)) => {
                    one.host_path(path);
                }
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                one.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                one.port(*port);
            }
            if let Some(timeout) = server.get_tcp_user_timeout() {
                one.tcp_user_timeout(*timeout);
            }
            if let Some(interval) = server.get_keepalives_interval() {
                one.keepalives_interval(interval);
            }
            if let Some(retries) = server.get_keepalives_retries() {
                one.keepalives_retries(retries);
            }
            one.keepalives(server.get_keepalives())
                .keepalives_idle(server.get_keepalives_idle())
                .connect_timeout(config.connect_timeout)
                .ssl_mode(config.tls.ssl_mode())
                .ssl_negotiation(server.get_ssl_negotiation())
                .target_session_attrs(server.get_target_session_attrs())
                .channel_binding(server.get_channel_binding());
            one
        })
        .collect()
}
