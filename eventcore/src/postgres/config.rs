//! The address of the server, and the settings of the store.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio_postgres::{
    Config,
    config::{Host, TargetSessionAttrs},
};

use crate::postgres::{
    PostgresEventStore, TlsMode, schema,
    url::{DatabaseUrl, refused},
};
use crate::store::EventStoreError;

/// The default schema of a store.
const DEFAULT_SCHEMA: &str = "eventcore";

/// The address of a PostgreSQL database, and the settings of the store.
///
/// ```no_run
/// # async fn f() -> Result<(), eventcore::EventStoreError> {
/// use std::time::Duration;
/// use eventcore::postgres::{PostgresConfig, TlsMode};
///
/// let store = PostgresConfig::new("postgres://bank:secret@db1,db2,db3/bank")?
///     .schema("ledger")?
///     .tls(TlsMode::VerifyFull)
///     .root_certificate("/etc/bank/authority.pem")
///     .pool_size(8)
///     .request_timeout(Duration::from_secs(5))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
///
/// The `Debug` output contains neither user nor password.
#[derive(Clone)]
pub struct PostgresConfig {
    pub(crate) server: Config,
    pub(crate) schema: String,
    pub(crate) tls: TlsMode,
    pub(crate) root_certificate: Option<PathBuf>,
    pub(crate) pool_size: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) prepared_statements: bool,
    pub(crate) notifications: bool,
    pub(crate) poll_interval: Duration,
    pub(crate) notified_poll_interval: Duration,
    pub(crate) migrate: bool,
}

impl PostgresConfig {
    /// Creates a configuration from a URL:
    /// `postgres://user:password@host1:5432,host2/database?sslmode=verify-full&sslrootcert=/path/ca.pem`.
    ///
    /// The parameters are those of PostgreSQL's own clients, and `schema`. If there are several
    /// hosts, the one that accepts writes is used (`target_session_attrs=read-write`, unless the
    /// URL specifies otherwise). The characters `@`, `/`, `?`, `#` and `%` in a password must be
    /// percent-encoded: `%40`, `%2F`, `%3F`, `%23`, `%25`.
    ///
    /// # Errors
    /// [`EventStoreError::Other`] if the text is not a valid URL, or is ambiguous because the
    /// password is not encoded. The error contains no part of the text except the value of
    /// `schema`.
    pub fn new(url: &str) -> Result<Self, EventStoreError> {
        let url = DatabaseUrl::new(url)?;
        let mut config = Self {
            server: Config::new(),
            schema: DEFAULT_SCHEMA.to_owned(),
            tls: TlsMode::default(),
            root_certificate: None,
            pool_size: 8,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            statement_timeout: None,
            prepared_statements: true,
            notifications: true,
            poll_interval: Duration::from_millis(10),
            notified_poll_interval: Duration::from_millis(250),
            migrate: true,
        };
        if let Some(name) = url.value("schema") {
            config = config.schema(name)?;
        }
        if let Some(mode) = url.value("sslmode") {
            config.tls = TlsMode::parse(&mode).ok_or_else(|| {
                refused("`sslmode` must be one of disable, prefer, require, verify-ca, verify-full")
            })?;
        }
        config.root_certificate = url
            .value("sslrootcert")
            .filter(|path| path != "system")
            .map(Into::into);
        let mut server = url.server()?;
        if server.get_hosts().is_empty() && server.get_hostaddrs().is_empty() {
            return Err(refused("it names no host"));
        }
        if url.value("target_session_attrs").is_none() {
            server.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if server.get_application_name().is_none() {
            server.application_name("eventcore");
        }
        if let Some(timeout) = server.get_connect_timeout() {
            config.connect_timeout = *timeout;
        }
        config.server = server;
        Ok(config)
    }

    /// Sets the schema that holds the store; `eventcore` by default. Each schema of a database is a
    /// separate store.
    ///
    /// # Errors
    /// [`EventStoreError::Other`] unless the name is 1 to 63 lower-case letters, digits and `_`,
    /// and starts with neither a digit nor `pg_`.
    pub fn schema(mut self, name: impl Into<String>) -> Result<Self, EventStoreError> {
        let name = name.into();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let first = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
        if !first || name.len() > 63 || !name.chars().all(plain) || name.starts_with("pg_") {
            let source = format!(
                "`{name}` is not a valid name for a schema: use 1 to 63 lower-case letters, digits and `_`, and begin \
                 with neither a digit nor `pg_`"
            );
            return Err(EventStoreError::Other {
                source: source.into(),
            });
        }
        self.schema = name;
        Ok(self)
    }

    /// Sets the encryption of connections and the verification of the server; [`TlsMode::Prefer`] by default.
    pub fn tls(mut self, mode: TlsMode) -> Self {
        self.tls = mode;
        self
    }

    /// Sets the file with the certificates of trusted authorities, in PEM format; those of the
    /// system by default.
    pub fn root_certificate(mut self, path: impl Into<PathBuf>) -> Self {
        self.root_certificate = Some(path.into());
        self
    }

    /// Sets the maximum number of connections, from 2 to 1,024; 8 by default. A store needs few,
    /// because concurrent requests are combined.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.pool_size = connections.clamp(2, 1024);
        self
    }

    /// Sets the time that one host may take to accept a connection, including the log-in, before
    /// the next host is tried; 3 seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the time that a response may take before the connection is dropped; 10 seconds by
    /// default. An append that was already sent fails with [`EventStoreError::OutcomeUnknown`],
    /// which the runtime resolves by retrying it.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets the time after which the *server* cancels a statement ([`EventStoreError::Busy`]), from
    /// a millisecond to 24 days; no limit by default. It is sent when a connection starts, which a
    /// pooler may refuse: in that case set it for the role instead.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        // The maximum of the server, which counts milliseconds and interprets 0 as no limit.
        let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
        self.statement_timeout = Some(timeout.clamp(Duration::from_millis(1), longest));
        self
    }

    /// Sets whether statements are prepared once for each connection; `true` by default. Set it to
    /// `false` behind a pooler in transaction mode that does not support prepared statements
    /// (pgbouncer before 1.21): then statements are planned each time.
    pub fn prepared_statements(mut self, prepared: bool) -> Self {
        self.prepared_statements = prepared;
        self
    }

    /// Sets whether commits are announced to other processes with NOTIFY, and awaited with LISTEN,
    /// on a connection outside the pool that is opened when the first reader waits; `true` by
    /// default. Correctness does not depend on it: without notifications, the server is polled more
    /// often.
    pub fn notifications(mut self, notifications: bool) -> Self {
        self.notifications = notifications;
        self
    }

    /// Sets the time between polls for the commits of other processes while a reader waits for them
    /// and no notifications arrive; at least a millisecond, 10 milliseconds by default.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets the time between polls while notifications arrive, because those of a process that dies
    /// are lost; at least a millisecond, 250 milliseconds by default.
    pub fn notified_poll_interval(mut self, interval: Duration) -> Self {
        self.notified_poll_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets whether [`connect`](Self::connect) creates or migrates the tables; `true` by default.
    /// Otherwise it only checks them.
    pub fn migrate_on_connect(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Creates the tables, or migrates them to the version of this build. Several processes may
    /// call this concurrently. It does nothing if the tables are up to date.
    ///
    /// # Errors
    /// [`EventStoreError::NewerSchema`]; [`EventStoreError::NotAnEventStore`] if the schema holds
    /// foreign tables of the same names; [`EventStoreError::Other`] if the role may not create
    /// tables.
    pub async fn migrate(&self) -> Result<(), EventStoreError> {
        let pool = super::connection::pool::Pool::new(self)?;
        schema::migrate(&pool, &self.schema).await
    }

    /// Connects, and migrates unless configured otherwise. Must be called in a tokio runtime, on
    /// which the store's tasks run.
    ///
    /// # Errors
    /// [`EventStoreError::Unavailable`] if no server accepts the connection, and those of
    /// [`migrate`](Self::migrate).
    pub async fn connect(&self) -> Result<PostgresEventStore, EventStoreError> {
        PostgresEventStore::start(self).await
    }

    /// Returns the schema, the hosts and the database in readable form, without user and password.
    pub fn location(&self) -> String {
        let ports = self.server.get_ports();
        let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let hosts = self
            .server
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(index, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(index)),
                #[cfg(unix)]
                Host::Unix(path) => path.display().to_string(),
            });
        // Without a name, the database has the name of the user, which is omitted.
        let database = self.server.get_dbname().unwrap_or_default();
        format!(
            "schema {} of {}/{database}",
            self.schema,
            hosts.collect::<Vec<_>>().join(",")
        )
    }

    pub(crate) fn roots(&self) -> Option<&Path> {
        self.root_certificate.as_deref()
    }
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("location", &self.location())
            .field("tls", &self.tls)
            .field("root_certificate", &self.root_certificate)
            .field("pool_size", &self.pool_size)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .field("prepared_statements", &self.prepared_statements)
            .field("notifications", &self.notifications)
            .field("poll_interval", &self.poll_interval)
            .field("notified_poll_interval", &self.notified_poll_interval)
            .field("migrate_on_connect", &self.migrate)
            .finish_non_exhaustive()
    }
}
