//! The chapter on PostgreSQL.
#![allow(dead_code, reason = "it needs a server")]

async fn connect() -> Result<(), eventcore::EventStoreError> {
    use eventcore::postgres::PostgresEventStore;

    let store = PostgresEventStore::connect("postgres://bank:secret@localhost/bank").await?;
    store.close().await;
    Ok(())
}
