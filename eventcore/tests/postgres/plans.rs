//! Plans of the statements that read: the cost of a page does not grow with the log nor with a stream, whether
//! the plan is from the time when the log was empty, or the server has no statistics yet, or has some, and whether it plans
//! for these values or for all.

use tokio_postgres::NoTls;

use crate::server::{config, url};

/// The statements, the types of their parameters, and a page in the middle of a log.
const STATEMENTS: [(&str, &str, &str); 8] = [
    (
        include_str!("../../src/postgres/sql/read_streams.sql"),
        "text[], bigint[], bigint[], int[], bigint[], bigint, uuid, timestamptz",
        "ARRAY['account-5', 'account-6'], ARRAY[0, 7], ARRAY[90000, 90000], ARRAY[128, 128], \
         ARRAY[4194304, 4194304], 50000, gen_random_uuid(), now()",
    ),
    (
        include_str!("../../src/postgres/sql/read_pages.sql"),
        "text[], bigint[], int[], bigint[], int[], bigint[], bigint, text[], int[], bigint, uuid, timestamptz",
        "ARRAY['account-5', 'account-6'], ARRAY[0, 7], ARRAY[0, 0], ARRAY[90000, 90000], ARRAY[1024, 1024], ARRAY[512, 512], \
         8388608, NULL, NULL, 50000, gen_random_uuid(), now()",
    ),
    (
        include_str!("../../src/postgres/sql/read_feed.sql"),
        "bigint, int, bigint, uuid, timestamptz, bigint",
        "50000, 1024, NULL, gen_random_uuid(), now(), 8388608",
    ),
    (
        include_str!("../../src/postgres/sql/read_feed.sql"),
        "bigint, int, bigint, uuid, timestamptz, bigint",
        "50000, 1024, 50000, gen_random_uuid(), now(), 8388608",
    ),
    (
        include_str!("../../src/postgres/sql/read_feed_of_types.sql"),
        "bigint, int, bigint, uuid, timestamptz, bigint, text[], text[]",
        "50000, 1024, NULL, gen_random_uuid(), now(), 8388608, ARRAY['account'], ARRAY[NULL]",
    ),
    (
        include_str!("../../src/postgres/sql/read_feed_of_types.sql"),
        "bigint, int, bigint, uuid, timestamptz, bigint, text[], text[]",
        "0, 1024, 50000, gen_random_uuid(), now(), 8388608, ARRAY[NULL, NULL], ARRAY['Rare', 'Deposited']",
    ),
    (
        include_str!("../../src/postgres/sql/read_names.sql"),
        "bigint[], int[], bigint, uuid, timestamptz",
        "ARRAY[5, 17, 9000], ARRAY[1], 50000, gen_random_uuid(), now()",
    ),
    (
        include_str!("../../src/postgres/sql/read_feed_of_stream.sql"),
        "bigint, int, text, bigint",
        "50000, 1024, 'account-5', 8388608",
    ),
];

#[tokio::test]
async fn a_page_is_read_from_indexes_alone_and_not_compiled() {
    let config = config();
    config.migrate().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let location = config.location();
    let schema = location.split(' ').nth(1).unwrap();
    let fill = format!(
        "ALTER TABLE {schema}.streams SET (autovacuum_enabled = false);
         ALTER TABLE {schema}.event_types SET (autovacuum_enabled = false);
         ALTER TABLE {schema}.events SET (autovacuum_enabled = false);
         INSERT INTO {schema}.streams SELECT i, 'account-' || i FROM generate_series(1, 10000) i;
         INSERT INTO {schema}.event_types VALUES (1, 'account', 'Deposited'), (2, 'rare', 'Rare');
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT i, 1 + i % 10000, 1 + i / 10000, CASE WHEN i % 1000 = 999 THEN 2 ELSE 1 END, gen_random_uuid(), now(),
                '{{\"amount\":1,\"note\":\"deposit of the day\"}}'
           FROM generate_series(1, 100000) i;
         UPDATE {schema}.sequencer SET position = 100000"
    );
    let analyze =
        ["streams", "event_types", "events"].map(|table| format!("ANALYZE {schema}.{table}"));
    for (stage, change) in [
        ("empty", ""),
        ("filled", &fill),
        ("analyzed", &analyze.join("; ")),
    ] {
        client.batch_execute(change).await.unwrap();
        for mode in ["force_custom_plan", "force_generic_plan"] {
            for (sql, types, values) in STATEMENTS {
                let sql = sql.replace("eventcore.", &format!("{schema}."));
                let prepare = format!(
                    "DEALLOCATE ALL; SET plan_cache_mode = {mode}; PREPARE page ({types}) AS {sql}"
                );
                client.batch_execute(&prepare).await.unwrap();
                let explain = format!("EXPLAIN EXECUTE page ({values})");
                let rows = client.simple_query(&explain).await.unwrap();
                let plan: Vec<_> = rows
                    .iter()
                    .filter_map(|row| match row {
                        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                        _ => None,
                    })
                    .collect();
                let plan = plan.join("\n");
                assert!(
                    plan.contains("events_pkey") || plan.contains("events_stream_version_key"),
                    "{plan}"
                );
                for slow in [
                    "JIT",
                    "Hash",
                    "Bitmap Heap Scan on events e",
                    "Seq Scan on streams",
                    "Seq Scan on events ",
                    // A whole page is written to a file of the server's if it is long.
                    "Materialize",
                ] {
                    // What is few may be hashed: event types, and all in an empty log, as the statement is prepared anew
                    // when the log has grown.
                    let may_be =
                        slow == "Hash" && (stage == "empty" || types.starts_with("text[]"));
                    assert!(
                        may_be || !plan.contains(slow),
                        "{mode} {stage}: {slow}\n{plan}"
                    );
                }
            }
        }
    }
}
