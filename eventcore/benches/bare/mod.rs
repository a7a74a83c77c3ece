//! The least that any store on SQLite must do for a transfer: its rows, in the same indexes, in one durable transaction,
//! and nothing read.

use rusqlite::{Connection, ToSql, params};

pub struct Bare {
    connection: Connection,
    commits: i64,
    _folder: tempfile::TempDir,
}

impl Bare {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let connection = Connection::open(folder.path().join("bare.db")).expect("a database");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
                 CREATE TABLE events (position INTEGER PRIMARY KEY, stream INTEGER NOT NULL, version INTEGER NOT NULL,
                     type INTEGER NOT NULL, event_id BLOB NOT NULL, recorded_at INTEGER NOT NULL,
                     payload TEXT NOT NULL, metadata TEXT, UNIQUE (stream, version)) STRICT;
                 CREATE INDEX events_by_type ON events (type);",
            )
            .expect("a schema");
        Self {
            connection,
            commits: 0,
            _folder: folder,
        }
    }

    pub fn commit(&mut self) {
        let execute = |sql: &str, values: &[&dyn ToSql]| {
            let mut statement = self.connection.prepare_cached(sql).expect("a statement");
            statement.execute(values).expect("a row");
        };
        execute("BEGIN IMMEDIATE", &[]);
        // Like `domain::clients`: two new accounts for every four commands.
        let (pair, version) = (self.commits / 4 * 2, self.commits % 4 + 1);
        for account in [pair + 1, pair + 2] {
            if version == 1 {
                let name = format!("account-{}", (1_i64 << 44) + account);
                execute(
                    "INSERT INTO streams (id, name) VALUES (?1, ?2)",
                    params![account, name],
                );
            }
            execute(
                "INSERT INTO events (stream, version, type, event_id, recorded_at, payload)
                 VALUES (?1, ?2, 1, ?3, 1, '{\"amount\":5}')",
                params![account, version, self.commits.to_le_bytes().repeat(2)],
            );
        }
        execute("COMMIT", &[]);
        self.commits += 1;
    }
}
