//! The oldest version of the SQLite library that keeps what this store commits.

use crate::store::EventStoreError;

/// Earlier versions can lose a committed transaction when the write-ahead log starts over while
/// another connection writes a checkpoint.
const OLDEST: i32 = 3_051_003;

#[derive(Debug, thiserror::Error)]
#[error(
    "SQLite {} can lose committed transactions (its WAL reset bug); this program needs SQLite {} or newer: update \
     `rusqlite`, whose feature `bundled` compiles SQLite, or the library that it is linked with",
    name(*.0), name(OLDEST)
)]
struct TooOld(i32);

/// Returns a version number of SQLite as people write it.
fn name(version: i32) -> String {
    let (major, minor, patch) = (
        version / 1_000_000,
        version / 1_000 % 1_000,
        version % 1_000,
    );
    format!("{major}.{minor}.{patch}")
}

/// Refuses a version of SQLite, as `rusqlite::version_number` returns it, that is too old.
pub(crate) fn check(version: i32) -> Result<(), EventStoreError> {
    if version < OLDEST {
        let source = TooOld(version).into();
        return Err(EventStoreError::Other { source });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::sqlite::SqliteEventStore;

    #[tokio::test]
    async fn an_old_sqlite_is_refused_before_it_touches_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.db");
        for (version, name) in [(3_051_002, "3.51.2"), (3_046_001, "3.46.1")] {
            let error = SqliteEventStore::open_on(version, &path).await.err();
            let reason = error.unwrap().to_string();
            assert!(
                reason.starts_with(&format!("SQLite {name} can lose committed transactions"))
                    && reason.contains("needs SQLite 3.51.3 or newer"),
                "{reason}"
            );
            assert!(!path.exists());
        }
        SqliteEventStore::open_on(3_051_003, &path).await.unwrap();
    }
}
