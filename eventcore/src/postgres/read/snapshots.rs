//! The statements that read streams, extended by the snapshots to start from.
//!
//! Most reads ask for none, so the statements as they are in `sql/` know nothing of them.

/// Extends `read_streams.sql`.
pub(crate) fn of_streams(sql: &str) -> String {
    let streams =
        "FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY a (name, after, up_to, most, room, n)";
    let with_snapshots = format!(
        "FROM (
           SELECT a.n, a.name, coalesce(x.version, a.after) AS after, a.up_to, a.most, a.room, {COLUMNS}
             FROM unnest($1, $2, $3, $4, $5, $9, $10) WITH ORDINALITY
                  a (name, after, up_to, most, room, kind, revision, n)
           {JOIN}
         ) a"
    );
    replaced(
        sql,
        &[
            (
                " AS cut\n      FROM",
                " AS cut, NULL::bytea AS fingerprint, a.snapshot_version, a.snapshot_id, a.snapshot\n      FROM",
            ),
            (streams, &with_snapshots),
        ],
    )
}

/// Extends `read_pages.sql`.
pub(crate) fn of_pages(sql: &str) -> String {
    let streams = "FROM unnest($1, $2, $3, $4, $5, $6) WITH ORDINALITY a (name, after, request, up_to, most, share, n)";
    let with_snapshots = format!(
        "FROM (
           SELECT a.n, a.name, coalesce(x.version, a.after) AS after, a.request, a.up_to, a.most, a.share, {COLUMNS}
             FROM unnest($1, $2, $3, $4, $5, $6, $13, $14) WITH ORDINALITY
                  a (name, after, request, up_to, most, share, kind, revision, n)
           {JOIN}
         ) a"
    );
    replaced(
        sql,
        &[
            (
                "a.most, a.share, s.id",
                "a.most, a.share, s.id, a.snapshot_version, a.snapshot_id, a.snapshot",
            ),
            (streams, &with_snapshots),
            (
                "i.fingerprint\n",
                "i.fingerprint,\n           NULL::bigint AS snapshot_version, NULL::uuid AS snapshot_id, NULL::json AS snapshot\n",
            ),
            (
                "l.cut, NULL\n",
                "l.cut, NULL, a.snapshot_version, a.snapshot_id, a.snapshot\n",
            ),
        ],
    )
}

const COLUMNS: &str =
    "x.version AS snapshot_version, x.event_id AS snapshot_id, x.state AS snapshot";

/// A snapshot counts if the stream has the event that it covers last.
const JOIN: &str = "LEFT JOIN LATERAL (
             SELECT x.version, x.event_id, x.state FROM eventcore.snapshots x
              WHERE x.stream = (SELECT s.id FROM eventcore.streams s WHERE s.name = a.name) AND x.name = a.kind
                AND x.revision = a.revision AND x.version > a.after
                AND EXISTS (SELECT FROM eventcore.events e WHERE e.stream = x.stream AND e.version = x.version
                               AND e.event_id = x.event_id AND (e.position > a.up_to) IS NOT TRUE)
              LIMIT 1
           ) x ON a.kind IS NOT NULL";

fn replaced(sql: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(sql.to_owned(), |sql, (from, to)| {
        debug_assert!(sql.contains(from), "the statement has no `{from}`");
        sql.replacen(from, to, 1)
    })
}
