//! Refusals of the server: a full disk, no memory, a deadlock, a standby. Each means the same on every store, nothing was
//! written, and the store goes on. A trigger refuses; the server's answer is as real as any.

use std::time::Duration;

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position,
    postgres::{PostgresConfig, PostgresEventStore},
    store::{CommitReceipt, ReadFeedRequest},
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_postgres::NoTls;

use crate::chain::chain;
use crate::{
    append::request,
    server::{self, schema_of, url},
};

/// The moment at which the server refuses.
#[derive(Debug, Clone, Copy)]
enum At {
    Insert,
    /// All rows were sent by then.
    Commit,
}

/// A store whose server refuses each event that holds the code of an error, with that error.
async fn refusing(at: At) -> PostgresEventStore {
    let config = server::config();
    let store = config.connect().await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let trigger = match at {
        At::Insert => "CREATE TRIGGER refuse AFTER INSERT",
        At::Commit => "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT",
    };
    let deferred = match at {
        At::Insert => "",
        At::Commit => "DEFERRABLE INITIALLY DEFERRED",
    };
    let sql = format!(
        "CREATE FUNCTION {s}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.payload ->> 'refuse' IS NOT NULL THEN
                 RAISE EXCEPTION 'refused' USING ERRCODE = NEW.payload ->> 'refuse';
             END IF;
             RETURN NULL;
         END $$;
         {trigger} ON {s}.events {deferred} FOR EACH ROW EXECUTE FUNCTION {s}.refuse()",
        s = schema_of(&config)
    );
    client.batch_execute(&sql).await.unwrap();
    store
}

/// Appends one event to a stream of its own.
async fn append(
    store: &PostgresEventStore,
    stream: &str,
    payload: String,
) -> Result<CommitReceipt, EventStoreError> {
    let stream = format!("note-{stream}");
    store.append(request(&stream, 0, &payload)).await
}

fn refused_with(code: &str) -> String {
    format!("{{\"refuse\":\"{code}\"}}")
}

async fn positions(store: &PostgresEventStore) -> Vec<u64> {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 1024,
    };
    let page = store.read_feed(request).await.unwrap();
    page.events.iter().map(|e| e.position.get()).collect()
}

#[tokio::test]
async fn what_the_server_refuses_is_not_written_and_says_what_it_means() {
    type Is = fn(&EventStoreError) -> bool;
    let full: Is = |error| matches!(error, EventStoreError::StorageFull { .. });
    let busy: Is = |error| matches!(error, EventStoreError::Busy { .. });
    let unavailable: Is = |error| matches!(error, EventStoreError::Unavailable { .. });
    let corrupt: Is = |error| matches!(error, EventStoreError::Corrupt { .. });
    let unknown: Is = |error| matches!(error, EventStoreError::OutcomeUnknown { .. });
    let other: Is = |error| matches!(error, EventStoreError::Other { .. });
    let codes = [
        ("53100", full),        // disk full
        ("53200", busy),        // out of memory
        ("53400", busy),        // a configured limit exceeded
        ("40001", busy),        // serialization failure
        ("40P01", busy),        // deadlock
        ("55P03", busy),        // lock not available
        ("57014", busy),        // statement timeout
        ("53300", unavailable), // too many connections
        ("57P03", unavailable), // cannot connect now
        ("57P01", unavailable), // shutdown by the administrator
        ("25006", unavailable), // a standby
        ("08006", unavailable), // the connection failed
        ("XX001", corrupt),     // data corrupted
        ("40003", unknown),     // statement completion unknown
        ("22P02", other),       // what no kind stands for
    ];
    for at in [At::Insert, At::Commit] {
        let store = refusing(at).await;
        for (number, (code, is)) in (1..).zip(codes) {
            let refused = append(&store, &format!("refused-{code}"), refused_with(code)).await;
            let error = refused.expect_err("the server refuses it");
            assert!(is(&error), "{at:?} {code}: {error:?}");
            let said = chain(&error);
            assert!(said.contains(&format!("SQLSTATE {code}")), "{said}");
            // It left nothing, not even a position, and nothing is broken.
            let appended = append(&store, &format!("good-{code}"), "{}".to_owned()).await;
            assert_eq!(appended.unwrap().position.get(), number, "{at:?} {code}");
            assert_eq!(positions(&store).await, (1..=number).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn a_commit_that_finds_no_room_keeps_no_other_from_being_made() {
    for at in [At::Insert, At::Commit] {
        let store = refusing(at).await;
        let appends = (0..64).map(|number| {
            let payload = match number % 8 {
                5 => refused_with("53100"),
                _ => "{}".to_owned(),
            };
            let store = &store;
            async move { append(store, &number.to_string(), payload).await }
        });
        for (number, appended) in join_all(appends).await.into_iter().enumerate() {
            match (number % 8, &appended) {
                (5, Err(EventStoreError::StorageFull { .. })) | (0..=4 | 6..=7, Ok(_)) => {}
                _ => panic!("{at:?}: commit {number} ended as {appended:?}"),
            }
        }
        assert_eq!(positions(&store).await, (1..=56).collect::<Vec<_>>());
    }
}

/// A server that takes connections only to refuse them with this error.
async fn refuses_connections(code: &'static str) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut asked = [0; 1024];
                let _ = socket.read(&mut asked).await;
                let fields = format!("SFATAL\0VFATAL\0C{code}\0Mnot now\0\0");
                let length = u32::try_from(fields.len() + 4).unwrap();
                let _ = socket.write_all(b"E").await;
                let _ = socket.write_all(&length.to_be_bytes()).await;
                let _ = socket.write_all(fields.as_bytes()).await;
            });
        }
    });
    (port, server)
}

#[tokio::test]
async fn a_server_that_takes_no_connections_is_passed_over_and_else_unavailable() {
    // It starts, or stops, or has too many already.
    for code in ["57P03", "57P01", "53300"] {
        let (port, refusing) = refuses_connections(code).await;
        let alone = format!("postgres://me:secret@127.0.0.1:{port}/db?sslmode=disable");
        let error = PostgresConfig::new(&alone)
            .unwrap()
            .connect()
            .await
            .unwrap_err();
        assert!(
            matches!(error, EventStoreError::Unavailable { .. }),
            "{error:?}"
        );
        let said = chain(&error);
        assert!(said.contains(code), "{said}");
        let schema = schema_of(&server::config());
        let among_others = url().replace('@', &format!("@127.0.0.1:{port},"));
        let config =
            PostgresConfig::new(&format!("{among_others}?sslmode=disable&schema={schema}"))
                .unwrap()
                .connect_timeout(Duration::from_secs(30));
        let store = config.connect().await.unwrap();
        append(&store, "1", "{}".to_owned()).await.unwrap();
        refusing.abort();
    }
}
