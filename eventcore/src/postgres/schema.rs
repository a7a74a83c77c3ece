//! The tables, their version, and how a schema is recognized as an event store.

use std::time::Duration;

use crate::postgres::{
    connection::pool::{Connection, Pool},
    connection::statement::of_schema,
    error::Failure,
};
use crate::store::EventStoreError;

/// The newest schema version that this build supports.
const VERSION: i64 = 1;

/// The migrations, each from one version of the schema to the next.
const MIGRATIONS: [&str; 1] = [include_str!("sql/schema_1.sql")];

/// The number of retries of a migration that another process interfered with.
const TRIES: u32 = 20;

/// The state of a schema.
enum Found {
    /// Neither a store nor any conflicting tables.
    Nothing,
    /// A store with this version.
    Version(i64),
}

/// Migrates the schema to the version of this build.
///
/// Concurrent migrations are serialized by a lock on the table of versions. If the table does not
/// exist yet, the first to commit wins, and the others find the work done when they retry.
pub(crate) async fn migrate(pool: &Pool, schema: &str) -> Result<(), EventStoreError> {
    let mut tries = 0;
    loop {
        let failure = match try_migrate(pool, schema).await {
            Ok(()) => return Ok(()),
            Err(Refused::Here(error)) => return Err(error),
            Err(Refused::Server(failure)) => failure,
        };
        tries += 1;
        if tries >= TRIES || !failure.is_race() {
            return Err(failure.of_start(pool.location()));
        }
        tokio::time::sleep(Duration::from_millis(5 * u64::from(tries))).await;
    }
}

/// Returns an error unless the schema is at the version of this build.
pub(crate) async fn check(pool: &Pool, schema: &str) -> Result<(), EventStoreError> {
    let found = async {
        let mut connection = pool.get().await?;
        let found = look(&mut connection, pool, schema).await?;
        see_all_rows(&mut connection, pool, schema).await?;
        Ok(found)
    };
    let reason = match found.await {
        Ok(Found::Version(VERSION)) => return Ok(()),
        Ok(Found::Version(older)) => format!(
            "it has schema version {older}, but this build needs {VERSION}; migrate it first"
        ),
        Ok(Found::Nothing) => "it has no tables yet; migrate it first".to_owned(),
        Err(Refused::Here(error)) => return Err(error),
        Err(Refused::Server(failure)) => return Err(failure.of_start(pool.location())),
    };
    Err(EventStoreError::NotAnEventStore {
        location: pool.location().to_owned(),
        reason,
    })
}

enum Refused {
    Here(EventStoreError),
    Server(Failure),
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Server(failure)
    }
}

async fn try_migrate(pool: &Pool, schema: &str) -> Result<(), Refused> {
    let mut connection = pool.get().await?;
    // Usually there is nothing to do, and a role that may only append must not fail here.
    if let Found::Version(VERSION) = look(&mut connection, pool, schema).await? {
        return see_all_rows(&mut connection, pool, schema).await;
    }
    // On an error, the transaction ends together with the connection.
    connection
        .batch("BEGIN ISOLATION LEVEL READ COMMITTED")
        .await?;
    let migrated = migrate_in(&mut connection, pool, schema).await;
    let end = if migrated.is_ok() {
        "COMMIT"
    } else {
        "ROLLBACK"
    };
    let ended = connection.batch(end).await;
    migrated?;
    Ok(ended?)
}

async fn migrate_in(connection: &mut Connection, pool: &Pool, schema: &str) -> Result<(), Refused> {
    let exists = scalar(
        connection,
        schema,
        "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $schema",
    )
    .await?;
    if exists == 0 {
        connection
            .batch(&format!("CREATE SCHEMA \"{schema}\""))
            .await?;
    }
    connection
        .batch(&of_schema(include_str!("sql/schema_version.sql"), schema))
        .await?;
    let from = match look(connection, pool, schema).await? {
        Found::Nothing => 0,
        Found::Version(version) => version,
    };
    let utf8 = "SELECT count(*) FROM pg_catalog.pg_database
                 WHERE datname = current_database() AND pg_encoding_to_char(encoding) = 'UTF8'";
    if from == 0 && scalar(connection, schema, utf8).await? == 0 {
        let source = "the encoding of the database is not UTF8, so it cannot store every event; create another \
                      database with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0";
        return Err(Refused::Here(EventStoreError::Other {
            source: source.into(),
        }));
    }
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > from) {
        connection.batch(&of_schema(sql, schema)).await?;
        let done = format!("INSERT INTO eventcore.schema_version (version) VALUES ({version})");
        connection.batch(&of_schema(&done, schema)).await?;
    }
    Ok(())
}

async fn look(connection: &mut Connection, pool: &Pool, schema: &str) -> Result<Found, Refused> {
    // In one statement: between two, another process may create all of them.
    let tables = "SELECT coalesce(max(CASE c.relname WHEN 'schema_version' THEN 2 ELSE 1 END), 0)::bigint
                    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                   WHERE n.nspname = $schema AND c.relname IN ('schema_version', 'events', 'streams', 'event_types',
                                                               'sequencer', 'idempotency')";
    match scalar(connection, schema, tables).await? {
        0 => return Ok(Found::Nothing),
        1 => {
            return Err(Refused::Here(EventStoreError::NotAnEventStore {
                location: pool.location().to_owned(),
                reason: "the schema holds tables of another application with the same names; choose another schema"
                    .to_owned(),
            }));
        }
        _ => {}
    }
    let found = scalar(
        connection,
        schema,
        "SELECT coalesce(max(version), 0) FROM eventcore.schema_version",
    )
    .await?;
    if found > VERSION {
        return Err(Refused::Here(EventStoreError::NewerSchema {
            location: pool.location().to_owned(),
            found,
            supported: VERSION,
        }));
    }
    Ok(Found::Version(found))
}

/// Refuses a store with a policy that hides rows from this role: a reader would silently skip the
/// hidden events. Connections turn such reads into errors, but not behind every pooler.
async fn see_all_rows(
    connection: &mut Connection,
    pool: &Pool,
    schema: &str,
) -> Result<(), Refused> {
    let hidden = format!(
        "SELECT string_agg(c.relname, ', ' ORDER BY c.relname) FROM pg_catalog.pg_class c
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = '{schema}' AND c.relkind IN ('r', 'p') AND row_security_active(c.oid)"
    );
    let rows = connection.query_once(&hidden).await?;
    let row = rows.first().map(|row| row.try_get::<_, Option<String>>(0));
    match row.transpose().map_err(Failure::from)?.flatten() {
        None => Ok(()),
        Some(tables) => {
            let source = format!(
                "{}: row level security hides rows of {tables} from this role, so events would be missed; give the role \
                 BYPASSRLS, or ALTER TABLE … DISABLE ROW LEVEL SECURITY",
                pool.location()
            );
            Err(Refused::Here(EventStoreError::Other {
                source: source.into(),
            }))
        }
    }
}

/// Returns one number. The name of a schema contains no character that needs escaping
/// (`PostgresConfig::schema`).
async fn scalar(connection: &mut Connection, schema: &str, sql: &str) -> Result<i64, Refused> {
    let sql = of_schema(&sql.replace("$schema", &format!("'{schema}'")), schema);
    let rows = connection.query_once(&sql).await?;
    let number = rows.first().map(|row| row.try_get::<_, i64>(0)).transpose();
    Ok(number.map_err(Failure::from)?.unwrap_or(0))
}
