//! Pages over a link that does not carry a whole one before the request times out.

use std::time::Duration;

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position, StreamId, Version,
    postgres::{PostgresConfig, PostgresEventStore},
    projection::{SubscriptionError, subscribe},
    store::{MAX_PAGE_EVENTS, ReadStreamsRequest, StreamCursor},
};
use futures_util::StreamExt;
use tokio_postgres::NoTls;

use crate::chain::chain;
use crate::{proxy::Proxy, server};

/// Together they are about a page.
const EVENTS: u64 = 12;
const BYTES: usize = 700_000;
/// Two of them are carried in time, and what else the server says, and three are not.
const WIDTH: usize = 1_700_000;
/// So many timeouts in a row are not met by chance, however busy the machine is.
const MANY: usize = 40;
const REQUEST: Duration = Duration::from_secs(2);

/// A store whose server is behind a slow link. Its log has one stream of large events.
async fn store() -> (PostgresEventStore, Proxy) {
    let config = server::config();
    config.migrate().await.unwrap();
    let schema = server::schema_of(&config);
    let (client, connection) = tokio_postgres::connect(&server::url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let fill = format!(
        "INSERT INTO {schema}.streams VALUES (1, 'log-1');
         INSERT INTO {schema}.event_types VALUES (1, 'log', 'Noted');
         INSERT INTO {schema}.events (position, stream, version, type, event_id, recorded_at, payload)
         SELECT n, 1, n, 1, gen_random_uuid(), now(), ('\"' || repeat('x', {BYTES} - 2) || '\"')::json
           FROM generate_series(1, {EVENTS}) n;
         UPDATE {schema}.sequencer SET position = {EVENTS}"
    );
    client.batch_execute(&fill).await.unwrap();
    let url = server::url();
    let (who, rest) = url.split_once('@').unwrap();
    let (address, database) = rest.split_once('/').unwrap();
    let database = database.split('?').next().unwrap();
    let proxy = Proxy::start(address, 0, Duration::ZERO).await;
    let through = format!(
        "{who}@{}/{database}?sslmode=disable&schema={schema}",
        proxy.address
    );
    let config = server::patient(PostgresConfig::new(&through).unwrap()).request_timeout(REQUEST);
    let config = config.migrate_on_connect(false);
    let store = config.connect().await.unwrap();
    proxy.width(WIDTH);
    (store, proxy)
}

fn assert_no_answer(error: &EventStoreError) {
    assert!(
        matches!(error, EventStoreError::Unavailable { .. })
            && chain(error).contains("no answer within 2s"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_feed_is_read_in_smaller_pages_after_one_that_timed_out() {
    let (store, _proxy) = store().await;
    let mut events = subscribe(store, Position::START, EventFilter::All);
    let (mut seen, mut timeouts) = (0, 0);
    while seen < EVENTS {
        match events.next().await.unwrap() {
            Ok(event) => {
                seen += 1;
                assert_eq!(event.position.get(), seen);
                assert_eq!(event.payload.len(), BYTES);
            }
            Err(SubscriptionError::Store(error)) => {
                assert_no_answer(&error);
                timeouts += 1;
                assert!(timeouts < MANY, "pages do not become small enough");
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(timeouts > 0, "the link is not slow");
}

#[tokio::test]
async fn a_stream_is_read_in_smaller_pages_after_one_that_timed_out() {
    let (store, _proxy) = store().await;
    let mut cursor = StreamCursor::new(StreamId::new("log-1").unwrap(), Version::EMPTY);
    let (mut up_to, mut timeouts) = (None, 0);
    while cursor.after.get() < EVENTS {
        let request = ReadStreamsRequest {
            streams: vec![cursor.clone()],
            snapshot: up_to,
            limit: MAX_PAGE_EVENTS,
            idempotency_key: None,
        };
        match store.read_streams(request).await {
            Ok(page) => {
                up_to = Some(page.snapshot);
                assert_eq!(page.versions(), [Version::new(EVENTS)]);
                for event in page.events {
                    assert_eq!(event.version, cursor.after.plus(1));
                    assert_eq!(event.payload.len(), BYTES);
                    cursor.after = event.version;
                }
            }
            Err(error) => {
                assert_no_answer(&error);
                timeouts += 1;
                assert!(timeouts < MANY, "pages do not become small enough");
            }
        }
    }
    assert!(timeouts > 0, "the link is not slow");
}
