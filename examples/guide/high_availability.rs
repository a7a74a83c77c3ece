//! The chapter on high availability.
#![allow(dead_code, reason = "it needs a cluster")]

use eventcore::{EventStoreError, postgres::PostgresEventStore};

async fn connect() -> Result<PostgresEventStore, EventStoreError> {
    use std::time::Duration;

    use eventcore::postgres::PostgresConfig;

    let url = "postgres://bank:secret@db1,db2,db3/bank?target_session_attrs=read-write&sslmode=verify-full";
    let store = PostgresConfig::new(url)?
        .connect_timeout(Duration::from_secs(2)) // for each host
        .request_timeout(Duration::from_secs(5)) // after which a silent connection is dropped
        .connect()
        .await?;
    Ok(store)
}
