//! Writing of snapshots, on the writer's thread and in transactions of their own.

use rusqlite::{Connection, params};

use crate::{sqlite::convert::sql, store::EncodedSnapshot};

/// Stores snapshots, replacing those of the same streams and kinds.
pub(crate) fn keep(connection: &Connection, snapshots: &[EncodedSnapshot]) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for EncodedSnapshot {
        stream,
        kind,
        snapshot,
    } in snapshots
    {
        // JSON that serde_json has written is UTF-8.
        let (Ok(state), Some(event_id)) =
            (str::from_utf8(&snapshot.state), snapshot.head.event_id())
        else {
            continue;
        };
        let query =
            "INSERT OR REPLACE INTO snapshots (stream, name, revision, version, event_id, state)
                     SELECT id, ?2, ?3, ?4, ?5, ?6 FROM streams WHERE name = ?1";
        transaction.prepare_cached(query)?.execute(params![
            stream.as_str(),
            &*kind.name,
            kind.revision,
            sql(snapshot.head.version().get()),
            event_id.as_uuid().as_bytes(),
            state,
        ])?;
    }
    transaction.commit()
}

/// Removes all snapshots.
pub(crate) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM snapshots")?
        .execute([])
        .map(drop)
}
