//! One program that links eventcore, sqlx, sea-orm and diesel, all on the same SQLite library.

use diesel::{Connection as _, RunQueryDsl as _};

#[derive(diesel::QueryableByName)]
struct Version {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("eventcore-interop-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let store = eventcore::sqlite::SqliteEventStore::open(folder.join("events.db")).await?;

    let sqlx = sqlx::SqlitePool::connect("sqlite::memory:").await?;
    let by_sqlx: String = sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&sqlx).await?;
    sea_orm::Database::connect("sqlite::memory:").await?.ping().await?;
    let mut diesel = diesel::SqliteConnection::establish(":memory:")?;
    let by_diesel: Version =
        diesel::sql_query("SELECT sqlite_version() AS version").get_result(&mut diesel)?;

    let ours = eventcore::sqlite::SqliteEventStore::sqlite_version();
    assert_eq!((by_sqlx.as_str(), by_diesel.version.as_str()), (ours, ours));
    println!("all on SQLite {ours}");
    store.close().await;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
