//! The database of a program: a SQLite file, or a PostgreSQL database by its URL. Shared by the examples.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, sync::Arc};

use eventcore::{
    EventStore, EventStoreError,
    postgres::{PostgresConfig, PostgresEventStore},
    sqlite::SqliteEventStore,
};

/// The database on the command line: `bank.db`, or `postgres://user:password@host/database`.
#[derive(Clone)]
pub enum Database {
    File(PathBuf),
    Postgres(String),
}

/// An open database. Commands run on either kind through `Arc<dyn EventStore>`; a read model is written for one of them.
pub enum Opened {
    File(SqliteEventStore),
    Postgres(PostgresEventStore),
}

impl Database {
    /// Opens the database, and creates it if it does not exist.
    pub async fn open(&self) -> Result<Opened, EventStoreError> {
        Ok(match self {
            Self::File(path) => Opened::File(SqliteEventStore::open(path).await?),
            Self::Postgres(url) => Opened::Postgres(PostgresEventStore::connect(url).await?),
        })
    }
}

impl From<Opened> for Arc<dyn EventStore> {
    fn from(opened: Opened) -> Self {
        match opened {
            Opened::File(store) => Arc::new(store),
            Opened::Postgres(store) => Arc::new(store),
        }
    }
}

impl FromStr for Database {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        Ok(if is_url {
            Self::Postgres(text.to_owned())
        } else {
            Self::File(text.into())
        })
    }
}

/// Formats the location, without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Postgres(url) => match PostgresConfig::new(url) {
                Ok(config) => config.location().fmt(f),
                Err(_) => f.write_str("a PostgreSQL database"),
            },
        }
    }
}
