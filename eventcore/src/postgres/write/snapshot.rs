//! Writing of snapshots, each in a statement of its own.

use tokio_postgres::types::Type;

use crate::{
    postgres::{
        connection::{pool::Pool, statement::Query},
        convert::{Json, big},
        error::Failure,
    },
    store::EncodedSnapshot,
};

const TYPES: [Type; 6] = [
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::UUID,
    Type::JSON,
];

/// Stores and removes snapshots.
pub(crate) struct Snapshots {
    keep: Query,
    clear: Query,
}

impl Snapshots {
    pub(crate) fn new(schema: &str) -> Self {
        let keep = "INSERT INTO eventcore.snapshots (stream, name, revision, version, event_id, state)
                    SELECT s.id, $2, $3, $4, $5, $6 FROM eventcore.streams s WHERE s.name = $1
                        ON CONFLICT (stream, name) DO UPDATE SET revision = excluded.revision,
                           version = excluded.version, event_id = excluded.event_id, state = excluded.state";
        Self {
            keep: Query::new("keep_snapshot", keep, &TYPES, schema),
            clear: Query::new(
                "clear_snapshots",
                "DELETE FROM eventcore.snapshots",
                &[],
                schema,
            ),
        }
    }

    /// Stores snapshots, replacing those of the same streams and kinds.
    pub(crate) async fn keep(
        &self,
        pool: &Pool,
        snapshots: &[EncodedSnapshot],
    ) -> Result<(), Failure> {
        let mut connection = pool.get().await?;
        connection.prepare(&self.keep).await?;
        for EncodedSnapshot {
            stream,
            kind,
            snapshot,
        } in snapshots
        {
            let head = snapshot.head;
            let Some(event_id) = head.event_id() else {
                continue;
            };
            connection
                .query(
                    &self.keep,
                    &[
                        &stream.as_str(),
                        &&*kind.name,
                        &i64::from(kind.revision),
                        &big(head.version().get()),
                        &event_id.as_uuid(),
                        &Json(&*snapshot.state),
                    ],
                )
                .await?;
        }
        Ok(())
    }

    /// Removes all snapshots.
    pub(crate) async fn clear(&self, pool: &Pool) -> Result<(), Failure> {
        let mut connection = pool.get().await?;
        connection.prepare(&self.clear).await?;
        connection.query(&self.clear, &[]).await.map(drop)
    }
}
