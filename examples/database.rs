//! Where a program keeps its events: a SQLite file, or a PostgreSQL database by its URL. Shared by the examples.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr, sync::Arc};

use eventcore::{
    EventStore, EventStoreError,
    postgres::{PostgresConfig, PostgresEventStore},
    sqlite::SqliteEventStore,
};

/// What the command line names: `bank.db`, or `postgres://user:password@host/database`.
#[derive(Clone)]
pub enum Database {
    File(PathBuf),
    Postgres(String),
}

/// One that is open. Commands run on any store, by `Arc::from`; a read model is made for one of them.
pub enum Opened {
    File(SqliteEventStore),
    Postgres(PostgresEventStore),
}

impl Database {
    /// Opens it, and creates what is missing.
    pub async fn open(&self) -> Result<Opened, EventStoreError> {
        Ok(match self {
            Self::File(path) => Opened::File(SqliteEventStore::open(path).await?),
            Self::Postgres(url) => {
                Opened::Postgres(PostgresEventStore::connect(&with_search_path(url)).await?)
            }
        })
    }
}

/// The store's schema by its URL.
pub fn schema(url: &str) -> &str {
    let (_, parameters) = url.split_once('?').unwrap_or((url, ""));
    let mut parameters = parameters.split('&');
    let schema = parameters.find_map(|parameter| parameter.strip_prefix("schema="));
    schema.unwrap_or("eventcore")
}

/// Tables of read models are in the schema of the store, unless the URL has options of its own. Statements do not name it,
/// so that in a rebuild they mean the new tables.
fn with_search_path(url: &str) -> String {
    if url.contains("options=") {
        return url.to_owned();
    }
    let next = if url.contains('?') { '&' } else { '?' };
    format!("{url}{next}options=-c%20search_path%3D{}", schema(url))
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

/// For people to read, so without the password.
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
