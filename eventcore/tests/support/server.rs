//! The PostgreSQL server that tests use, and a schema of its own for each of them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::time::Duration;

use eventcore::postgres::{PostgresConfig, PostgresEventStore};

/// The database of the tests.
pub fn url() -> String {
    std::env::var("EVENTCORE_POSTGRES_URL").expect(
        "this test needs a PostgreSQL server: run it as `scripts/postgres cargo test …`, which starts one, or set \
         EVENTCORE_POSTGRES_URL to a database in which it may create schemas",
    )
}

/// A schema that nobody else uses.
pub fn config() -> PostgresConfig {
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    patient(PostgresConfig::new(&url()).unwrap().schema(schema).unwrap())
}

/// Tests do not fail because a machine is busy.
pub fn patient(config: PostgresConfig) -> PostgresConfig {
    let long = Duration::from_mins(10);
    config.connect_timeout(long).request_timeout(long)
}

/// A new, empty store.
pub async fn store() -> PostgresEventStore {
    config().connect().await.unwrap()
}

/// Schema names are unique, and so their tables; this finds them again.
pub fn schema_of(config: &PostgresConfig) -> String {
    let said = format!("{config:?}");
    let start = said.find("test_").unwrap();
    said[start..]
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}
