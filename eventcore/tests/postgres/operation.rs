//! PostgreSQL as a server: migrations, configuration, secrets, TLS, rights, stored JSON, time limits.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use eventcore::{
    CommitId, EventFilter, EventStore, EventStoreError, MAX_EVENT_BYTES, Metadata, Position,
    StreamId, Version,
    postgres::{PostgresConfig, PostgresEventStore, TlsMode},
    store::{
        AppendRequest, CommitReceipt, ExpectedVersion, MAX_COMMIT_BYTES, MAX_COMMIT_EVENTS,
        MAX_COMMIT_STREAMS, NewEvent, ReadFeedRequest, ReadStreamsRequest, StreamCursor,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_postgres::NoTls;

use crate::chain::chain;
use crate::{
    append::request,
    server::{self, config, schema_of, url},
};

async fn append(
    store: &PostgresEventStore,
    stream: &str,
    version: u64,
) -> Result<CommitReceipt, EventStoreError> {
    store.append(request(stream, version, "1")).await
}

async fn log(store: &impl EventStore) -> Vec<eventcore::RecordedEvent> {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 1000,
    };
    store.read_feed(request).await.unwrap().events
}

/// A connection that goes around the store.
async fn raw(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The URL with another user and password.
fn url_of(user: &str, password: &str) -> String {
    let url = url();
    let (_, host) = url.split_once('@').unwrap();
    format!("postgres://{user}:{password}@{host}")
}

fn with(parameters: &str) -> String {
    format!("{}?{parameters}", url())
}

async fn refused(config: &PostgresConfig) -> EventStoreError {
    config.connect().await.expect_err("the server is refused")
}

/// The error and all its sources, as text and as `Debug`.
fn everything(error: &dyn std::error::Error) -> String {
    let mut said = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(said, " {error} {error:?}");
        source = error.source();
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_migrate_at_once_and_it_happens_once() {
    let config = config();
    let starts: Vec<_> = (0..8)
        .map(|n| {
            let config = config.clone();
            // Each has connections of its own: to the server the same as a process.
            tokio::spawn(async move {
                // Some come while others are in the middle of it.
                tokio::time::sleep(Duration::from_millis(n / 2 * 10)).await;
                if n % 2 == 0 {
                    config.migrate().await.unwrap();
                }
                let store = config.connect().await.unwrap();
                append(&store, &format!("note-{n}"), 0).await.unwrap();
            })
        })
        .collect();
    for start in starts {
        start.await.unwrap();
    }
    let store = config.connect().await.unwrap();
    assert!(
        log(&store)
            .await
            .iter()
            .map(|event| event.position.get())
            .eq(1..=8)
    );
    let versions = format!("SELECT count(*) FROM {}.schema_version", schema_of(&config));
    assert_eq!(
        raw(&url())
            .await
            .query_one(&versions, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        1
    );
}

#[tokio::test]
async fn a_schema_that_is_newer_foreign_or_not_there_is_refused_and_left_alone() {
    let config = config();
    let schema = schema_of(&config);
    let database = raw(&url()).await;
    let absent = refused(&config.clone().migrate_on_connect(false)).await;
    assert!(
        matches!(absent, EventStoreError::NotAnEventStore { .. }),
        "{absent}"
    );
    assert!(absent.to_string().contains("migrate it first"), "{absent}");

    database
        .batch_execute(&format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.events (mine text)"
        ))
        .await
        .unwrap();
    let foreign = refused(&config).await;
    assert!(
        matches!(foreign, EventStoreError::NotAnEventStore { .. }),
        "{foreign}"
    );
    assert!(foreign.to_string().contains(&schema), "{foreign}");
    let tables = format!("SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'");
    assert_eq!(
        database
            .query_one(&tables, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        1,
        "something was created"
    );

    database
        .batch_execute(&format!("DROP TABLE {schema}.events"))
        .await
        .unwrap();
    config.migrate().await.unwrap();
    config
        .clone()
        .migrate_on_connect(false)
        .connect()
        .await
        .unwrap();
    database
        .batch_execute(&format!("INSERT INTO {schema}.schema_version VALUES (99)"))
        .await
        .unwrap();
    for config in [config.clone(), config.migrate_on_connect(false)] {
        match refused(&config).await {
            EventStoreError::NewerSchema {
                found, supported, ..
            } => assert_eq!((found, supported), (99, 1)),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let database = raw(&url()).await;
    let name = format!("latin_{}", uuid::Uuid::now_v7().simple());
    let create = format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    );
    database.batch_execute(&create).await.unwrap();
    let (server, _) = url()
        .rsplit_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let latin = PostgresConfig::new(&format!("{server}/{name}")).unwrap();
    for _ in 0..2 {
        let error = refused(&latin).await.to_string();
        assert!(error.contains("ENCODING 'UTF8'"), "{error}");
    }
    let schemas = raw(&format!("{server}/{name}"))
        .await
        .query(
            "SELECT 1 FROM pg_namespace WHERE nspname = 'eventcore'",
            &[],
        )
        .await
        .unwrap();
    assert!(schemas.is_empty(), "something was left behind");
    database
        .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_largest_commits_are_made() {
    let store = server::store().await;
    let stream = |n: usize| StreamId::new(format!("note-{n}")).unwrap();
    let expected = |streams: usize| {
        let version = Version::EMPTY;
        (0..streams)
            .map(|n| ExpectedVersion {
                stream: stream(n),
                version,
                event_id: None,
            })
            .collect::<Vec<_>>()
    };
    let event = |stream: usize, payload: &str| NewEvent {
        stream,
        type_name: "Noted",
        payload: payload.to_owned().into(),
    };
    // As many events and streams as a commit may have, and then as many bytes.
    let many = (0..MAX_COMMIT_EVENTS).map(|n| event(n % MAX_COMMIT_STREAMS, "1"));
    let many = (expected(MAX_COMMIT_STREAMS), many.collect::<Vec<_>>());
    let large = format!("\"{}\"", "x".repeat(MAX_EVENT_BYTES - 2));
    let count = MAX_COMMIT_BYTES / MAX_EVENT_BYTES;
    let mut heavy = (expected(1), vec![event(0, &large); count]);
    heavy.0[0].stream = stream(MAX_COMMIT_STREAMS);
    let mut position = 0;
    for (expected, events) in [many, heavy] {
        position += events.len() as u64;
        let (id, metadata) = (CommitId::generate(), Metadata::default());
        let commit = AppendRequest::new(id, expected, events, metadata, None).unwrap();
        let appended = store.append(commit.clone()).await.unwrap();
        assert_eq!(
            (appended.position.get(), appended.repeated),
            (position, false)
        );
        assert_eq!(store.append(commit).await.unwrap(), appended);
    }
    let request = ReadFeedRequest {
        after: Position::new(position - 1),
        filter: EventFilter::All,
        limit: 1,
    };
    let last = store.read_feed(request).await.unwrap().events;
    assert_eq!(last[0].payload, large.as_bytes());
}

#[tokio::test]
async fn several_stores_live_in_one_database() {
    let (one, other) = (server::store().await, server::store().await);
    append(&one, "note-1", 0).await.unwrap();
    assert_eq!((log(&one).await.len(), log(&other).await.len()), (1, 0));
    assert_eq!(append(&other, "note-1", 0).await.unwrap().position.get(), 1);
    for name in [
        "",
        "Upper",
        "1st",
        "pg_mine",
        "a-b",
        "a\"b",
        &"x".repeat(64),
    ] {
        assert!(
            PostgresConfig::new(&url()).unwrap().schema(name).is_err(),
            "{name}"
        );
    }
}

/// Collects what is said in spans and events.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<String>>);

impl tracing::field::Visit for Said {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let _ = writeln!(self.0.lock().unwrap(), "{field} {value:?}");
    }
}

impl tracing::Subscriber for Said {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        span.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn the_password_is_nowhere_to_be_seen() {
    const SECRET: &str = "Tr0ub4dor-and-3";
    let said = Said::default();
    let listening = tracing::subscriber::set_default(said.clone());
    // While there is only one subscriber, the thread that first comes to a message decides whether it is ever logged, and
    // the threads of the other tests have no subscriber.
    let _second = tracing::Dispatch::new(said.clone());
    let user = format!("role_{}", uuid::Uuid::now_v7().simple());
    let database = raw(&url()).await;
    database
        .batch_execute(&format!("CREATE ROLE {user} LOGIN PASSWORD '{SECRET}'"))
        .await
        .unwrap();

    let mut seen = String::new();
    // Taken by the server, but without any rights; not taken; nobody there; not a URL; a `@` that is not encoded.
    let right = PostgresConfig::new(&url_of(&user, SECRET)).unwrap();
    let wrong = PostgresConfig::new(&url_of("nobody_here", SECRET)).unwrap();
    let nowhere = PostgresConfig::new(&format!("postgres://me:{SECRET}@127.0.0.1:1/db")).unwrap();
    for config in [&right, &wrong, &nowhere] {
        let _ = writeln!(seen, "{config:?} {}", everything(&refused(config).await));
    }
    for url in [
        format!("mysql://me:{SECRET}@host/db"),
        format!("postgres://me:{SECRET}@host:port/db"),
        format!("postgres://me:more@{SECRET}@host/db"),
        format!("postgres://me:{SECRET}@host/db?sslmode=maybe"),
        format!("postgres://me:{SECRET}@host/db?colour=red"),
        format!("postgres://me:{SECRET}"),
    ] {
        let _ = writeln!(
            seen,
            "{}",
            everything(&PostgresConfig::new(&url).unwrap_err())
        );
    }
    let url = url();
    let password = url.split([':', '@']).nth(2).unwrap();
    let config = config();
    let store = config.connect().await.unwrap();
    let _ = append(&store, "note-1", 0).await;
    let _ = writeln!(
        seen,
        "{config:?} {store:?} {}",
        everything(&append(&store, "note-1", 0).await.unwrap_err())
    );
    drop(listening);
    seen.push_str(&said.0.lock().unwrap());
    assert!(
        seen.contains("nobody_here") && seen.contains("127.0.0.1"),
        "the test sees nothing: {seen}"
    );
    for secret in [SECRET, password] {
        assert!(!seen.contains(secret), "{seen}");
    }
}

#[tokio::test]
async fn who_cannot_connect_is_told_to_what_and_what_is_missing() {
    let nobody = PostgresConfig::new("postgres://me:secret@127.0.0.1:1/db").unwrap();
    let error = refused(&nobody).await;
    assert!(
        matches!(error, EventStoreError::Unavailable { .. }),
        "{error:?}"
    );
    let said = chain(&error);
    assert!(said.contains("127.0.0.1:1/db"), "{said}");

    let (url, host) = (url(), url());
    let host = host.split_once('@').unwrap().1;
    let user = url.split([':', '/', '@']).nth(3).unwrap();
    let without = PostgresConfig::new(&format!("postgres://{user}@{host}")).unwrap();
    let error = refused(&without).await;
    // No server that comes back changes that.
    assert!(matches!(error, EventStoreError::Other { .. }), "{error:?}");
    let said = chain(&error);
    assert!(said.contains("postgres://user:password@"), "{said}");
}

/// Returns `true` if the store's own connections are encrypted.
async fn is_encrypted(config: &PostgresConfig, name: &str) -> bool {
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
    raw(&url())
        .await
        .query_one(sql, &[&name])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn tls_is_what_was_asked_for() {
    let authority = std::env::var("EVENTCORE_POSTGRES_CA").expect(
        "the certificate of the server's authority; `scripts/postgres` sets EVENTCORE_POSTGRES_CA",
    );
    for (parameters, encrypted) in [
        ("sslmode=disable", false),
        ("sslmode=prefer", true),
        ("sslmode=require", true),
        (&*format!("sslmode=verify-ca&sslrootcert={authority}"), true),
        (
            &*format!("sslmode=verify-full&sslrootcert={authority}"),
            true,
        ),
    ] {
        let name = format!("tls {}", uuid::Uuid::now_v7());
        let url = with(&format!(
            "{parameters}&application_name={}&schema={}",
            name.replace(' ', "%20"),
            schema_of(&config())
        ));
        let config = PostgresConfig::new(&url).unwrap();
        assert_eq!(
            is_encrypted(&config, &name).await,
            encrypted,
            "{parameters}"
        );
    }
    // Signed by nobody that the system trusts.
    let stranger = PostgresConfig::new(&url())
        .unwrap()
        .tls(TlsMode::VerifyFull);
    let error = chain(&refused(&stranger).await);
    assert!(
        error.contains("ertificate") && error.contains("sslrootcert"),
        "{error}"
    );
    // The right server under another name.
    let (_, rest) = url()
        .split_once("@127.0.0.1")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let credentials = url().split_once('@').unwrap().0.to_owned();
    let renamed = |mode| {
        let url = format!(
            "{credentials}@db.example{rest}?hostaddr=127.0.0.1&sslmode={mode}&sslrootcert={authority}&schema={}",
            schema_of(&config())
        );
        PostgresConfig::new(&url).unwrap()
    };
    let error = everything(&renamed("verify-full").connect().await.unwrap_err());
    assert!(
        error.contains("NotValidForName") && error.contains("db.example"),
        "{error}"
    );
    renamed("verify-ca").connect().await.unwrap();
    let missing =
        PostgresConfig::new(&with("sslmode=verify-full&sslrootcert=/no/such/file.pem")).unwrap();
    let error = missing.connect().await.unwrap_err().to_string();
    assert!(error.contains("/no/such/file.pem"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_is_refused_when_tls_was_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut talked = Vec::new();
        for _ in 0..3 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut asked = [0; 8];
            socket.read_exact(&mut asked).await.unwrap();
            // SSLRequest, and No.
            assert_eq!(asked[4..], 80_877_103_u32.to_be_bytes());
            socket.write_all(b"N").await.unwrap();
            socket.read_to_end(&mut talked).await.unwrap();
        }
        talked
    });
    for mode in ["require", "verify-ca", "verify-full"] {
        let authority = std::env::var("EVENTCORE_POSTGRES_CA").unwrap();
        let url = format!(
            "postgres://me:secret@127.0.0.1:{port}/db?sslmode={mode}&sslrootcert={authority}"
        );
        let error = chain(&refused(&PostgresConfig::new(&url).unwrap()).await);
        assert!(error.contains("server does not support TLS"), "{error}");
    }
    assert!(
        server.await.unwrap().is_empty(),
        "the client went on without TLS"
    );
}

#[tokio::test]
async fn what_is_stored_can_be_appended_to_and_neither_changed_nor_removed() {
    let (config, database) = (config(), raw(&url()).await);
    let (schema, id) = (schema_of(&config), uuid::Uuid::now_v7().simple());
    let (owner, user) = (format!("owner_{id}"), format!("user_{id}"));
    database
        .batch_execute(&format!(
            "CREATE ROLE {owner} LOGIN PASSWORD 'o'; CREATE ROLE {user} LOGIN PASSWORD 'u';
             CREATE SCHEMA {schema} AUTHORIZATION {owner}"
        ))
        .await
        .unwrap();
    let of = |role: &str, password: &str| {
        PostgresConfig::new(&url_of(role, password))
            .unwrap()
            .schema(&schema)
            .unwrap()
    };
    let store = of(&owner, "o").connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let by_owner = raw(&url_of(&owner, "o")).await;
    by_owner
        .batch_execute(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {user};
             GRANT EXECUTE ON FUNCTION {schema}.append TO {user}"
        ))
        .await
        .unwrap();
    let by_user = raw(&url_of(&user, "u")).await;
    let store = of(&user, "u").connect().await.unwrap();
    assert_eq!(append(&store, "note-1", 1).await.unwrap().position.get(), 2);
    let changes = |table: &str| {
        [
            format!("DELETE FROM {schema}.{table}"),
            format!("TRUNCATE {schema}.{table}"),
            format!("UPDATE {schema}.{table} SET position = 1"),
        ]
    };
    for sql in changes("events").into_iter().chain(changes("idempotency")) {
        for role in [&by_owner, &by_user] {
            let error = role.batch_execute(&sql).await.expect_err(&sql);
            assert_eq!(error.code().unwrap().code(), "42501", "{sql}: {error:?}");
        }
    }
    let insert = format!("INSERT INTO {schema}.streams (id, name) VALUES (9, 'x-1')");
    assert_eq!(
        by_user
            .batch_execute(&insert)
            .await
            .unwrap_err()
            .code()
            .unwrap()
            .code(),
        "42501"
    );
    assert!(
        by_user
            .batch_execute(&format!("UPDATE {schema}.sequencer SET position = 9"))
            .await
            .is_err()
    );
    assert_eq!(log(&store).await.len(), 2);
}

#[tokio::test]
async fn payloads_come_back_byte_for_byte_and_can_be_queried() {
    let config = config();
    let store = config.connect().await.unwrap();
    let payloads = [
        "{\"amount\": 12345678901234567890123.4500,  \"amount\" :1E+2}".to_owned(),
        "{ \"nul\" : \"a\\u0000b\", \"amount\":\"\\/\" }".to_owned(),
        "\t[-0.0, 0.10, 1e-320,\n{}, \"\u{2028}\u{1f680}\"]\r\n".to_owned(),
        format!("{{\"amount\":\"{}\"}}", "ü".repeat(100_000)),
        format!("{}{}", "[".repeat(127), "]".repeat(127)),
    ];
    for (version, payload) in (0..).zip(&payloads) {
        store
            .append(request("note-1", version, payload))
            .await
            .unwrap();
    }
    let stream = StreamId::new("note-1").unwrap();
    let page = store
        .read_streams(ReadStreamsRequest {
            streams: vec![StreamCursor::new(stream, Version::EMPTY)],
            snapshot: None,
            limit: 10,
            idempotency_key: None,
        })
        .await
        .unwrap();
    for ((event, logged), payload) in page.events.iter().zip(log(&store).await).zip(&payloads) {
        assert_eq!(event.payload, payload.as_bytes());
        assert_eq!(logged.payload, payload.as_bytes());
    }
    let database = raw(&url()).await;
    // PostgreSQL has no NUL in its texts, so it can look into every payload but the second.
    let sql = format!(
        "SELECT e.payload ->> 'amount' FROM {}.events e WHERE e.version IN (1, 4) ORDER BY position",
        schema_of(&config)
    );
    let amounts = database.query(&sql, &[]).await.unwrap();
    let amounts: Vec<String> = amounts.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        (&*amounts[0], amounts[1].chars().count()),
        ("1E+2", 100_000)
    );
}

/// A value of the server's is less than 1 GiB, and so is a message of its.
#[tokio::test]
async fn a_page_of_more_than_the_server_can_give_at_once_is_read_in_parts() {
    const LARGE: u64 = 130;
    const ALL: u64 = LARGE + 5;
    let config = config();
    let store = config.connect().await.unwrap();
    let schema = schema_of(&config);
    let fill = format!(
        "INSERT INTO {schema}.streams VALUES (1, 'large-1'), (2, 'large-2');
         INSERT INTO {schema}.event_types VALUES (1, 'large', 'Large');
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT i, 1, i, 1, gen_random_uuid(), now(), ('\"' || repeat('x', {MAX_EVENT_BYTES} - 2) || '\"')::json
           FROM generate_series(1, {LARGE}) i;
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT {LARGE} + i, 2, i, 1, gen_random_uuid(), now(), '1' FROM generate_series(1, {ALL} - {LARGE}) i;
         UPDATE {schema}.sequencer SET position = {ALL}"
    );
    raw(&url()).await.batch_execute(&fill).await.unwrap();
    // Alone, and with another stream, whose events come after those of the first.
    for (streams, events) in [(1, LARGE), (2, ALL)] {
        let mut after = vec![0; streams];
        let mut read = 0;
        while read < events {
            let cursor = |(number, after): (usize, &u64)| {
                StreamCursor::new(
                    StreamId::new(format!("large-{}", number + 1)).unwrap(),
                    Version::new(*after),
                )
            };
            let request = ReadStreamsRequest {
                streams: after.iter().enumerate().map(cursor).collect(),
                snapshot: None,
                limit: 1000,
                idempotency_key: None,
            };
            let page = store.read_streams(request).await.unwrap();
            let versions = [LARGE, ALL - LARGE].map(Version::new);
            assert_eq!(page.versions(), versions[..streams]);
            assert!(!page.events.is_empty());
            for event in page.events {
                read += 1;
                assert_eq!(event.position.get(), read);
                after[event.stream] += 1;
                assert_eq!(event.version.get(), after[event.stream]);
                let large = event.payload.len() == MAX_EVENT_BYTES;
                assert_eq!(large, event.stream == 0);
            }
        }
    }
}

/// Keeps the sequencer locked until it is dropped.
async fn lock(config: &PostgresConfig) -> tokio_postgres::Client {
    let client = raw(&url()).await;
    let sql = format!(
        "BEGIN; UPDATE {}.sequencer SET position = position",
        schema_of(config)
    );
    client.batch_execute(&sql).await.unwrap();
    client
}

#[tokio::test]
async fn an_append_that_got_no_answer_is_settled_by_repeating_it() {
    let config = config().request_timeout(Duration::from_secs(2));
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let locked = lock(&config).await;
    let commit = request("note-2", 0, "2");
    let unknown = store.append(commit.clone()).await.unwrap_err();
    assert!(
        matches!(unknown, EventStoreError::OutcomeUnknown { .. }),
        "{unknown:?}"
    );
    let said = chain(&unknown);
    assert!(said.contains("no answer within 2s"), "{said}");
    // Reads take no lock.
    assert_eq!(log(&store).await.len(), 1);
    drop(locked);
    let made = store.append(commit.clone()).await.unwrap();
    assert_eq!((made.position.get(), made.repeated), (2, false));
    // The first statement may still have been waiting; whichever came first, the other wrote nothing.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.append(commit).await.unwrap(), made);
    assert_eq!(log(&store).await.len(), 2);
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_busy_and_a_killed_connection_is_replaced() {
    let config = config().statement_timeout(Duration::from_millis(100));
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let locked = lock(&config).await;
    let busy = append(&store, "note-1", 1).await.unwrap_err();
    assert!(
        matches!(busy, EventStoreError::Busy { .. }) && chain(&busy).contains("57014"),
        "{busy:?}"
    );
    drop(locked);
    append(&store, "note-1", 1).await.unwrap();

    let name = format!("kill {}", uuid::Uuid::now_v7());
    let url = with(&format!(
        "application_name={}&schema={}",
        name.replace(' ', "%20"),
        schema_of(&config)
    ));
    let store = PostgresEventStore::connect(&url).await.unwrap();
    let database = raw(&self::url()).await;
    let kill =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    for version in 2..6 {
        assert!(
            database
                .query_one(kill, &[&name])
                .await
                .unwrap()
                .get::<_, i64>(0)
                > 0,
            "nothing was killed"
        );
        let commit = request("note-1", version, "1");
        // It may be seen before the append, or by it; then it is unknown, and repeated.
        let mut tries = 0;
        while let Err(error) = store.append(commit.clone()).await {
            assert!(
                matches!(
                    error,
                    EventStoreError::OutcomeUnknown { .. } | EventStoreError::Unavailable { .. }
                ),
                "{error:?}"
            );
            tries += 1;
            assert!(tries < 20, "{error}");
        }
    }
    assert!(
        log(&store)
            .await
            .iter()
            .map(|event| event.version.get())
            .eq(1..=6)
    );
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_no_place_for_commands() {
    let standby =
        PostgresConfig::new(&with("options=-c%20default_transaction_read_only%3Don")).unwrap();
    let error = refused(&standby).await;
    assert!(
        matches!(error, EventStoreError::ReadOnly { .. }),
        "{error:?}"
    );
    // It became one while we were connected: the next connection looks for the primary.
    let config = config();
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let name = format!("demoted {}", uuid::Uuid::now_v7());
    let role = format!("demoted_{}", uuid::Uuid::now_v7().simple());
    let database = raw(&url()).await;
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'd'; GRANT USAGE ON SCHEMA {s} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {s} TO {role};
         GRANT EXECUTE ON FUNCTION {s}.append TO {role}",
        s = schema_of(&config)
    );
    database.batch_execute(&grants).await.unwrap();
    // `any`: a store that is connected to a server of which nobody asked whether it takes writes.
    let url = format!(
        "{}?application_name={}&schema={}&target_session_attrs=any&options=-c%20default_transaction_read_only%3Don",
        url_of(&role, "d"),
        name.replace(' ', "%20"),
        schema_of(&config)
    );
    let store = PostgresEventStore::connect(&url).await.unwrap();
    let error = append(&store, "note-1", 1).await.unwrap_err();
    assert!(
        matches!(error, EventStoreError::Unavailable { .. }),
        "{error:?}"
    );
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    let mut left = 1;
    for _ in 0..50 {
        left = database
            .query_one(count, &[&name])
            .await
            .unwrap()
            .get::<_, i64>(0);
        if left == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(left, 0, "the connection to the standby was kept");
    assert_eq!(log(&store).await.len(), 1);
}

/// So it is during a failover: every server answers, and none takes writes yet.
#[tokio::test]
async fn while_no_server_takes_writes_the_store_is_out_of_reach_and_goes_on_afterwards() {
    let role = format!("failover_{}", uuid::Uuid::now_v7().simple());
    let database = raw(&url()).await;
    let create = format!("CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'f'");
    database.batch_execute(&create).await.unwrap();
    let config = PostgresConfig::new(&url_of(&role, "f"))
        .unwrap()
        .schema(&role)
        .unwrap();
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
    let demote = format!(
        "ALTER ROLE {role} SET default_transaction_read_only = on;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    database.batch_execute(&demote).await.unwrap();
    for _ in 0..3 {
        // The first may still be sent on a connection that has ended.
        let _ = append(&store, "note-1", 1).await.unwrap_err();
    }
    let error = append(&store, "note-1", 1).await.unwrap_err();
    assert!(
        matches!(error, EventStoreError::Unavailable { .. }),
        "{error:?}"
    );
    let promote = format!("ALTER ROLE {role} RESET default_transaction_read_only");
    database.batch_execute(&promote).await.unwrap();
    append(&store, "note-1", 1).await.unwrap();
    assert_eq!(log(&store).await.len(), 2);
}

#[tokio::test]
async fn a_host_that_hangs_does_not_keep_the_others_from_being_asked() {
    // It accepts, and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = url().replace('@', &format!("@127.0.0.1:1,127.0.0.1:{port},"));
    let config = PostgresConfig::new(&url)
        .unwrap()
        .schema(schema_of(&config()))
        .unwrap()
        .connect_timeout(Duration::from_secs(2));
    let store = config.connect().await.unwrap();
    append(&store, "note-1", 0).await.unwrap();
}

#[tokio::test]
async fn statements_need_not_be_prepared() {
    let config = config().prepared_statements(false);
    let store = config.connect().await.unwrap();
    for version in 0..3 {
        append(&store, "note-1", version).await.unwrap();
    }
    let found = append(&store, "note-1", 0).await.unwrap_err();
    assert!(
        matches!(found, EventStoreError::VersionConflict(_)),
        "{found:?}"
    );
    assert_eq!(log(&store).await.len(), 3);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let store = server::store().await;
    append(&store, "note-1", 0).await.unwrap();
    let other_handle = store.clone();
    store.close().await;
    let error = append(&other_handle, "note-1", 1).await.unwrap_err();
    assert!(matches!(error, EventStoreError::Closed), "{error:?}");
}
