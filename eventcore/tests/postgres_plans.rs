//! How PostgreSQL runs the statements of the feed: what a page costs does not grow with the log, whether or not the server
//! has statistics yet, and whether it plans for these values or for all.

mod server;

use server::{config, url};
use tokio_postgres::NoTls;

/// The statements, the types of their parameters, and a page in the middle of a log.
const STATEMENTS: [(&str, &str, &str); 6] = [
    (
        include_str!("../src/store/postgres/sql/read_feed.sql"),
        "bigint, int, bigint, uuid, timestamptz",
        "50000, 1024, NULL, gen_random_uuid(), now()",
    ),
    (
        include_str!("../src/store/postgres/sql/read_feed.sql"),
        "bigint, int, bigint, uuid, timestamptz",
        "50000, 1024, 50000, gen_random_uuid(), now()",
    ),
    (
        include_str!("../src/store/postgres/sql/read_feed_of_types.sql"),
        "bigint, int, bigint, uuid, timestamptz, text[], text[]",
        "50000, 1024, NULL, gen_random_uuid(), now(), ARRAY['account'], ARRAY[NULL]",
    ),
    (
        include_str!("../src/store/postgres/sql/read_feed_of_types.sql"),
        "bigint, int, bigint, uuid, timestamptz, text[], text[]",
        "0, 1024, 50000, gen_random_uuid(), now(), ARRAY[NULL, NULL], ARRAY['Rare', 'Deposited']",
    ),
    (
        include_str!("../src/store/postgres/sql/read_names.sql"),
        "bigint[], int[], bigint, uuid, timestamptz",
        "ARRAY[5, 17, 9000], ARRAY[1], 50000, gen_random_uuid(), now()",
    ),
    (
        include_str!("../src/store/postgres/sql/read_feed_of_stream.sql"),
        "bigint, int, text",
        "50000, 1024, 'account-5'",
    ),
];

#[tokio::test]
async fn a_page_of_the_feed_is_read_from_indexes_alone_and_not_compiled() {
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
         INSERT INTO {schema}.streams (name) SELECT 'account-' || i FROM generate_series(1, 10000) i;
         INSERT INTO {schema}.event_types (category, name) VALUES ('account', 'Deposited'), ('rare', 'Rare');
         INSERT INTO {schema}.events
         SELECT i, 1 + i % 10000, 1 + i / 10000, CASE WHEN i % 1000 = 999 THEN 2 ELSE 1 END, gen_random_uuid(), now(),
                '{{\"amount\":1,\"note\":\"deposit of the day\"}}'
           FROM generate_series(1, 100000) i;
         UPDATE {schema}.sequencer SET position = 100000"
    );
    client.batch_execute(&fill).await.unwrap();
    for statistics in ["", "ANALYZE"] {
        if statistics == "ANALYZE" {
            let analyze = ["streams", "event_types", "events"]
                .map(|table| format!("ANALYZE {schema}.{table}"))
                .join("; ");
            client.batch_execute(&analyze).await.unwrap();
        }
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
                ] {
                    assert!(!plan.contains(slow), "{mode} {statistics}: {slow}\n{plan}");
                }
            }
        }
    }
}
