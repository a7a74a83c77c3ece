//! A role that may read, and call `append`, and nothing else: whatever it passes by hand, the log stays whole and open for
//! others. And roles, or tables, that are not what a store needs: they are told.

use std::fmt::Write;

use eventcore::{
    CommitId, EventFilter, EventSelector, EventStore, EventStoreError, IdempotencyKey, Metadata,
    Position, StreamId, Version,
    postgres::{PostgresConfig, PostgresEventStore},
    store::{AppendRequest, CommitReceipt, ReadFeedRequest, ReadStreamsRequest, StreamCursor},
};
use tokio_postgres::{Client, NoTls};

use crate::chain::chain;
use crate::{
    append::{expected, noted},
    server::{config, patient, schema_of, url},
};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A store, the name of its schema, and a role with the rights of an application, as the guide gives them.
#[allow(clippy::struct_field_names, reason = "the store is one of them")]
struct Store {
    store: PostgresEventStore,
    schema: String,
    owner: Client,
    role: String,
    url: String,
}

impl Store {
    async fn new() -> Self {
        let config = config();
        let store = config.connect().await.unwrap();
        let schema = schema_of(&config);
        let owner = connect(&url()).await;
        let role = format!("role_{}", uuid::Uuid::now_v7().simple());
        let rights = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret';
             GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};
             GRANT EXECUTE ON FUNCTION {schema}.append TO {role}"
        );
        owner.batch_execute(&rights).await.unwrap();
        let url = url();
        let (_, host) = url.split_once('@').unwrap();
        let url = format!("postgres://{role}:secret@{host}");
        Self {
            store,
            schema,
            owner,
            role,
            url,
        }
    }

    async fn run(&self, sql: &str) {
        let sql = sql.replace("$s", &self.schema).replace("$r", &self.role);
        self.owner.batch_execute(&sql).await.unwrap();
    }

    fn as_role(&self) -> PostgresConfig {
        patient(PostgresConfig::new(&self.url).unwrap())
            .schema(&self.schema)
            .unwrap()
    }

    /// That positions and versions are what they must be, that every name can be read, and that others can append.
    async fn is_whole(&self, what: &str) {
        let checks = "
            SELECT count(*) FROM (
                SELECT 'gap in positions' FROM (SELECT count(*) n, coalesce(max(position), 0) m FROM $s.events) e WHERE n <> m
                UNION ALL
                SELECT 'sequencer' FROM $s.sequencer WHERE position <> (SELECT count(*) FROM $s.events)
                UNION ALL
                SELECT 'position' FROM $s.events WHERE position < 1
                UNION ALL
                SELECT 'version' FROM (
                    SELECT version, row_number() OVER (PARTITION BY stream ORDER BY position) n FROM $s.events
                ) e WHERE version <> n
                UNION ALL
                SELECT 'stream' FROM $s.events e WHERE NOT EXISTS (SELECT FROM $s.streams s WHERE s.id = e.stream)
                UNION ALL
                SELECT 'category' FROM $s.events e JOIN $s.streams s ON s.id = e.stream
                  LEFT JOIN $s.event_types t ON t.id = e.type AND t.category = split_part(s.name, '-', 1) WHERE t.id IS NULL
                UNION ALL
                SELECT 'key' FROM $s.idempotency k, $s.sequencer q WHERE k.events < 0 OR k.position NOT BETWEEN k.events AND q.position
                    OR octet_length(k.key) NOT BETWEEN 1 AND 255
            ) wrong";
        let wrong = self
            .owner
            .query_one(&checks.replace("$s", &self.schema), &[])
            .await
            .unwrap();
        assert_eq!(wrong.get::<_, i64>(0), 0, "{what} left the log damaged");
        // Names, types and metadata can be read.
        let events = feed(&self.store, EventFilter::All).await.expect(what);
        let own = StreamId::new("witness-1").unwrap();
        let version = events.iter().filter(|event| event.stream == own).count() as u64;
        let appended = append(&self.store, "witness-1", version).await.expect(what);
        assert_eq!(appended.position.get(), events.len() as u64 + 1, "{what}");
    }
}

fn commit(
    stream: &str,
    version: u64,
    metadata: Metadata,
    key: Option<IdempotencyKey>,
) -> AppendRequest {
    let (id, events) = (CommitId::generate(), vec![noted(0, "1")]);
    AppendRequest::new(id, vec![expected(stream, version)], events, metadata, key).unwrap()
}

async fn append(
    store: &PostgresEventStore,
    stream: &str,
    version: u64,
) -> Result<CommitReceipt, EventStoreError> {
    store
        .append(commit(stream, version, Metadata::default(), None))
        .await
}

async fn feed(
    store: &PostgresEventStore,
    filter: EventFilter,
) -> Result<Vec<eventcore::RecordedEvent>, EventStoreError> {
    let (mut after, mut events) = (Position::START, Vec::new());
    loop {
        let filter = filter.clone();
        let page = store.read_feed(ReadFeedRequest {
            after,
            filter,
            limit: 1000,
        });
        let page = page.await?;
        events.extend(page.events);
        if page.scanned_to == after {
            return Ok(events);
        }
        after = page.scanned_to;
    }
}

/// The arguments of a call that is right: two commits, the first with three events on two streams, the second with one.
const RIGHT: [(&str, &str); 21] = [
    ("stream_names", "ARRAY['note-1','book-1','note-2','note-3']"),
    ("stream_categories", "ARRAY[1,2,1,1]"),
    ("stream_commits", "ARRAY[1,1,2,2]"),
    ("expected_versions", "ARRAY[1,0,0,0]::bigint[]"),
    ("expected_ids", "ARRAY[NULL,NULL,NULL,NULL]::uuid[]"),
    (
        "commit_ids",
        "ARRAY['018f0000-0000-7000-8000-00000a000000','018f0000-0000-7000-8000-00000b000000']::uuid[]",
    ),
    ("commit_counts", "ARRAY[3,1]"),
    ("commit_firsts", "ARRAY[1,4]"),
    ("commit_keys", "ARRAY['one',NULL]"),
    (
        "commit_fingerprints",
        "ARRAY[decode(repeat('ab', 32), 'hex'),NULL]",
    ),
    (
        "commit_metadata",
        "ARRAY['{\"correlation_id\":\"c\"}',NULL]::json[]",
    ),
    ("categories", "ARRAY['note','book']"),
    ("type_categories", "ARRAY[1,2]"),
    ("type_names", "ARRAY['Noted','Read']"),
    ("event_commits", "ARRAY[1,1,1,2]"),
    ("event_streams", "ARRAY[1,2,1,3]"),
    ("event_numbers", "ARRAY[1,1,2,1]"),
    ("event_gaps", "ARRAY[0,0,2,0]"),
    ("event_types", "ARRAY[1,2,1,1]"),
    (
        "event_ids",
        "ARRAY['018f0000-0000-7000-8000-00000a000001','018f0000-0000-7000-8000-00000a000002','018f0000-0000-7000-8000-00000a000003','018f0000-0000-7000-8000-00000b000001']::uuid[]",
    ),
    ("event_payloads", "ARRAY['1','2','3','4']::json[]"),
];

/// The call with some arguments changed.
fn call(schema: &str, changes: &[(&str, &str)]) -> String {
    let mut sql = format!("SELECT commit, outcome FROM {schema}.append(");
    for (number, (name, right)) in RIGHT.iter().enumerate() {
        let change = changes.iter().find(|(changed, _)| changed == name);
        let separator = if number == 0 { "" } else { ", " };
        let value = change.map_or(*right, |(_, value)| value);
        let _ = write!(sql, "{separator}{name} => {value}");
    }
    assert!(
        changes
            .iter()
            .all(|(name, _)| RIGHT.iter().any(|(right, _)| right == name))
    );
    sql + ")"
}

/// Values that fit no argument of the type of a list.
fn wrong_values(name: &str) -> Vec<String> {
    let right = RIGHT.iter().find(|(found, _)| *found == name).unwrap().1;
    let (list, of) = match name {
        "stream_names" | "commit_keys" | "categories" | "type_names" => {
            let texts = [
                "",
                "*",
                "-",
                "note",
                "note-",
                "-1",
                "note-*",
                "note-\u{1}",
                "note-\u{7f}",
                "note-\u{85}",
                "no\nte-1",
                "a-b[c]",
                "one",
                "\u{1}",
            ];
            let mut texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            texts.extend([
                "n".repeat(300),
                format!("note-{}", "ü".repeat(300)),
                "n".repeat(3000),
            ]);
            (texts, "text")
        }
        // That of another commit is the caller's to choose.
        "commit_ids" | "event_ids" | "expected_ids" => (
            vec!["018f0000-0000-7000-8000-00000c0fffff".to_owned()],
            "uuid",
        ),
        "commit_fingerprints" => (vec![String::new(), "\\x00".to_owned()], "bytea"),
        "commit_metadata" => (
            [
                "1",
                "[]",
                "null",
                "{\"correlation_id\":1}",
                "{\"causation_id\":{}}",
                "{\"user\":1e999}",
                "{\"user\":{\"a\":[-1e309]}}",
                "{\"user\":\"\\ud800\"}",
                "{\"user\":1,\"user\":2}",
                "{\"correlation_id\":null}",
            ]
            .iter()
            .map(|text| (*text).to_owned())
            .chain([format!(
                "{{\"user\":{}{}}}",
                "[".repeat(200),
                "]".repeat(200)
            )])
            .collect(),
            "json",
        ),
        "event_payloads" => (
            vec![
                "{".to_owned(),
                format!("\"{}\"", "x".repeat(9 * 1024 * 1024)),
            ],
            "json",
        ),
        "expected_versions" => (
            ["-7", "50", "9223372036854775807", "-9223372036854775808"]
                .map(str::to_owned)
                .to_vec(),
            "bigint",
        ),
        _ => (
            ["-1", "0", "1", "2", "5", "2147483647"]
                .map(str::to_owned)
                .to_vec(),
            "integer",
        ),
    };
    let mut values = Vec::new();
    let length = 2 + 2 * usize::from(
        name.starts_with("stream_") || name.starts_with("expected_") || name.starts_with("event_"),
    );
    for at in [0, length - 1] {
        for value in list.iter().map(Some).chain([None]) {
            // Each element by itself, by assignment to a copy.
            let value = value.map_or("NULL".to_owned(), |value| format!("'{value}'"));
            let (before, after) = (
                format!("({right})[:{at}]"),
                format!("({right})[{}:]", at + 2),
            );
            values.push(format!("{before} || ARRAY[{value}]::{of}[] || {after}"));
        }
    }
    values.extend([
        "NULL".to_owned(),
        format!("ARRAY[]::{of}[]"),
        format!("({right})[:1]"),
        format!("({right}) || ({right})"),
        format!("ARRAY[{right}, {right}]"),
        // The same elements, numbered from 0, and from 2.
        format!("array_fill(NULL::{of}, ARRAY[{length}], ARRAY[0])"),
        format!("ARRAY(SELECT x FROM unnest({right}) WITH ORDINALITY a (x, n) ORDER BY n DESC)"),
    ]);
    values
}

#[tokio::test]
async fn no_argument_of_a_call_by_hand_damages_the_log_or_stops_others() {
    let store = Store::new().await;
    append(&store.store, "note-1", 0).await.unwrap();
    let role = connect(&store.url).await;
    let (mut made, mut refused) = (0, 0);
    let mut attempt = async |what: String, changes: Vec<(&str, &str)>| {
        let sql = call(&store.schema, &changes);
        let called = role.query(&sql, &[]).await;
        if called.is_err() {
            // It was undone as a whole.
            refused += 1;
            return called;
        }
        made += 1;
        store.is_whole(&what).await;
        // The next one starts from the same log.
        store
            .run(
                "DELETE FROM $s.events WHERE position > 1; DELETE FROM $s.idempotency; DELETE FROM $s.streams WHERE id > 1;
                 UPDATE $s.sequencer SET position = 1",
            )
            .await;
        called
    };
    store
        .run("GRANT UPDATE, DELETE ON ALL TABLES IN SCHEMA $s TO CURRENT_USER")
        .await;
    attempt("the right call".to_owned(), vec![]).await.unwrap();
    for (name, _) in RIGHT {
        for value in wrong_values(name) {
            let shown: String = value.chars().take(200).collect();
            let _ = attempt(format!("{name} => {shown}"), vec![(name, &value)]).await;
        }
    }
    // Lists whose elements are numbered from 0 or 2 mean other elements where they are looked up than where they are counted.
    for (name, right) in RIGHT {
        for bound in [0, 2] {
            let of = match name {
                "stream_names" | "commit_keys" | "categories" | "type_names" => "text",
                "commit_ids" | "event_ids" | "expected_ids" => "uuid",
                "commit_fingerprints" => "bytea",
                "commit_metadata" | "event_payloads" => "json",
                "expected_versions" => "bigint",
                _ => "integer",
            };
            let value = format!(
                "(SELECT format('[%s:%s]=%s', {bound}, {bound} + cardinality(a) - 1, a)::{of}[] FROM (SELECT {right} AS a) a)"
            );
            let _ = attempt(format!("{name} from {bound}"), vec![(name, &value)]).await;
        }
    }
    // What would move the sequencer without events, or events past it.
    let several: [&[(&str, &str)]; 10] = [
        &[
            ("commit_counts", "ARRAY[5,1]"),
            ("commit_keys", "NULL"),
            ("expected_versions", "ARRAY[9,0,0,0]"),
        ],
        &[
            ("commit_counts", "ARRAY[-5,1]"),
            ("expected_versions", "ARRAY[9,0,0,0]"),
        ],
        &[
            ("commit_counts", "ARRAY[3,5]"),
            ("expected_versions", "ARRAY[1,0,9,0]"),
        ],
        &[
            ("commit_counts", "ARRAY[3,-5]"),
            ("expected_versions", "ARRAY[1,0,9,0]"),
        ],
        &[
            ("commit_counts", "ARRAY[0,4]"),
            ("commit_firsts", "ARRAY[1,1]"),
        ],
        &[("stream_commits", "ARRAY[1,1,1,1]")],
        &[
            ("stream_commits", "ARRAY[2,2,1,1]"),
            ("commit_firsts", "ARRAY[4,1]"),
            ("commit_counts", "ARRAY[1,3]"),
        ],
        &[
            ("event_streams", "ARRAY[]::integer[]"),
            ("commit_counts", "ARRAY[3,1]"),
        ],
        &[
            ("event_streams", "NULL"),
            ("event_types", "NULL"),
            ("event_payloads", "NULL"),
            ("commit_counts", "ARRAY[-3,9]"),
        ],
        &[
            ("event_numbers", "ARRAY[1,1,1,1]"),
            ("event_gaps", "ARRAY[0,0,0,0]"),
        ],
    ];
    for changes in several {
        let _ = attempt(format!("{changes:?}"), changes.to_vec()).await;
    }
    store.is_whole("all of them").await;
    assert!(made > 20 && refused > 200, "{made} made, {refused} refused");
}

#[tokio::test]
async fn metadata_that_readers_refuse_is_refused_and_all_other_is_taken() {
    let store = Store::new().await;
    let role = connect(&store.url).await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    // An array within an array within the metadata itself: 127 levels can be read.
    let (deepest, deeper) = (
        format!("{{\"user\":{}}}", deep(126)),
        format!("{{\"user\":{}}}", deep(127)),
    );
    let texts = [
        ("{}", true),
        (
            r#"{"correlation_id":"\u0000","causation_id":null,"user":null}"#,
            true,
        ),
        (
            r#"{"user":{"a\u0000":"\\u0000","b":1.7976931348623157e308}}"#,
            true,
        ),
        (r#"{"user":{"a":1,"a":2}}"#, true),
        (r#"{"more":1}"#, true),
        (&deepest, true),
        (&deeper, false),
        (r#"{"user":1,"user":1}"#, false),
        (r#"{"user":[1e309]}"#, false),
        (r#"{"user":"\ud800"}"#, false),
        (r#"{"correlation_id":7}"#, false),
        (r#"{"causation_id":["a"]}"#, false),
        ("[]", false),
        ("7", false),
    ];
    for (text, is_taken) in texts {
        let is_read = serde_json::from_str::<Metadata>(text).is_ok();
        assert!(is_read || !is_taken, "{text}");
        store
            .run("DELETE FROM $s.events; DELETE FROM $s.idempotency; UPDATE $s.sequencer SET position = 0")
            .await;
        let value = format!("ARRAY['{text}',NULL]::json[]");
        let changes = [
            ("commit_metadata", &*value),
            ("expected_versions", "ARRAY[0,0,0,0]"),
        ];
        let called = role.query(&call(&store.schema, &changes), &[]).await;
        assert_eq!(called.is_ok(), is_taken, "{text}: {called:?}");
        let read = feed(&store.store, EventFilter::All).await.unwrap();
        assert_eq!(read.len(), if is_taken { 4 } else { 0 }, "{text}");
    }
}

/// A page of a filtered feed leaves out what does not match; that a policy hides the rest must not look the same.
#[tokio::test]
async fn a_policy_that_hides_events_is_an_error_and_no_silence() {
    let store = Store::new().await;
    append(&store.store, "note-1", 0).await.unwrap();
    let filters = || {
        [
            EventFilter::All,
            EventFilter::Stream(StreamId::new("note-1").unwrap()),
            EventFilter::any_of([EventSelector::of_type("Noted")]),
        ]
    };
    let open = store.as_role().connect().await.unwrap();
    for filter in filters() {
        assert_eq!(feed(&open, filter).await.unwrap().len(), 1);
    }
    let hides = |error: &EventStoreError| {
        let said = chain(error);
        matches!(error, EventStoreError::Other { .. })
            && said.contains("row-level security")
            && said.contains("BYPASSRLS")
    };
    for table in [
        "events",
        "streams",
        "event_types",
        "idempotency",
        "sequencer",
    ] {
        store
            .run(&format!("ALTER TABLE $s.{table} ENABLE ROW LEVEL SECURITY"))
            .await;
        // A store that is opened now, by a role that only reads and appends, or migrates …
        for migrate in [false, true] {
            let config = store.as_role().migrate_on_connect(migrate);
            let error = config.connect().await.unwrap_err().to_string();
            assert!(error.contains(&format!("rows of {table} from")), "{error}");
            assert!(error.contains("BYPASSRLS"), "{error}");
        }
        // … or behind a pooler that keeps no settings.
        let error = store.as_role().prepared_statements(false).connect().await;
        assert!(error.unwrap_err().to_string().contains("BYPASSRLS"));
        // And one that was open before.
        let reads = match table {
            "events" | "sequencer" => filters().to_vec(),
            "streams" => vec![filters()[1].clone()],
            "event_types" => vec![filters()[2].clone()],
            _ => vec![],
        };
        for filter in reads {
            let error = feed(&open, filter.clone()).await.unwrap_err();
            assert!(hides(&error), "{table}, {filter:?}: {error}");
        }
        if table != "event_types" {
            let read = ReadStreamsRequest {
                streams: vec![StreamCursor::new(
                    StreamId::new("note-1").unwrap(),
                    Version::EMPTY,
                )],
                snapshot: None,
                limit: 10,
                idempotency_key: Some(IdempotencyKey::new("a key").unwrap()),
            };
            let error = open.read_streams(read).await.unwrap_err();
            assert!(hides(&error), "{table}: {error}");
        }
        store
            .run(&format!(
                "ALTER TABLE $s.{table} DISABLE ROW LEVEL SECURITY"
            ))
            .await;
    }
    // Who sees everything is not concerned.
    store
        .run("ALTER TABLE $s.events ENABLE ROW LEVEL SECURITY; ALTER ROLE $r BYPASSRLS")
        .await;
    let again = store.as_role().connect().await.unwrap();
    append(&again, "note-1", 1).await.unwrap();
    assert_eq!(feed(&again, EventFilter::All).await.unwrap().len(), 2);
    assert_eq!(feed(&store.store, EventFilter::All).await.unwrap().len(), 2);
}

/// Logical replication copies rows, and not the state of sequences.
#[tokio::test]
async fn a_store_whose_rows_were_copied_takes_new_streams_and_types() {
    let first = Store::new().await;
    for number in 0..50 {
        let stream = format!("note{number}-1");
        append(&first.store, &stream, 0).await.unwrap();
    }
    let second = Store::new().await;
    let (from, to) = (&first.schema, &second.schema);
    let tables = [
        ("streams", "id, name"),
        ("event_types", "id, category, name"),
        (
            "events",
            "position, stream, version, type, event_id, recorded_at, payload, metadata",
        ),
        ("idempotency", "key, position, events, commit_id"),
    ];
    let copy = tables.map(|(table, columns)| {
        format!(
            "INSERT INTO {to}.{table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {from}.{table};"
        )
    });
    let sequencer =
        format!("UPDATE {to}.sequencer SET position = (SELECT position FROM {from}.sequencer)");
    second.run(&(copy.concat() + &sequencer)).await;
    for number in 50..60 {
        let stream = format!("note{number}-1");
        append(&second.store, &stream, 0).await.unwrap();
    }
    let events = feed(&second.store, EventFilter::All).await.unwrap();
    let names: Vec<_> = events.iter().map(|event| event.stream.as_str()).collect();
    let expected: Vec<_> = (0..60).map(|number| format!("note{number}-1")).collect();
    assert_eq!(names, expected);
    second.is_whole("a copy").await;
}
