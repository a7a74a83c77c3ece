//! Tables of PostgreSQL that somebody has changed by hand: what is damaged is said, and what is not can still be used.

use std::convert::Infallible;

use eventcore::{
    Command, CommandError, CommandLogic, Event, EventFilter, EventStore, EventStoreError, Position,
    RetryPolicy, StreamKey, execute, postgres::PostgresEventStore, store::ReadFeedRequest,
};
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;

use crate::chain::chain;
use crate::server::{config, schema_of, url};

#[derive(Serialize, Deserialize, Event)]
struct Counted {
    by: u64,
}

#[derive(StreamKey)]
#[stream_key(category = "counter", event = Counted)]
struct CounterId(u32);

#[derive(Command)]
struct Count {
    #[stream]
    counter: CounterId,
}

impl CommandLogic for Count {
    type State = u64;
    type Error = Infallible;

    fn apply(&self, sum: &mut u64, CountEvent::Counter(Counted { by }): CountEvent<'_>) {
        *sum += by;
    }

    fn handle(&self, sum: &u64, streams: CountStreams<'_>) -> Result<(), Infallible> {
        streams.counter.append(Counted { by: sum + 1 });
        Ok(())
    }
}

async fn count(store: &PostgresEventStore, counter: u32) -> Result<(), CommandError<Infallible>> {
    let counter = CounterId(counter);
    execute(store, Count { counter }, RetryPolicy::never())
        .await
        .map(drop)
}

async fn feed(store: &PostgresEventStore) -> Result<usize, EventStoreError> {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 100,
    };
    Ok(store.read_feed(request).await?.events.len())
}

#[tokio::test]
async fn what_is_damaged_is_said_and_the_rest_is_used() {
    // What is done to the events of the first of two counters, and what a command on it and the feed say.
    let cases = [
        (
            "DELETE FROM {}.events WHERE stream = 1 AND version = 2",
            "event 3 follows on event 1",
            "",
        ),
        (
            "DELETE FROM {}.events WHERE stream = 1 AND version = 1",
            "event 2 follows on event 0",
            "",
        ),
        (
            "UPDATE {}.events SET type = 77 WHERE stream = 1 AND version = 3",
            "event type number 77 has no name",
            "has no name",
        ),
        (
            "UPDATE {}.events SET payload = '{\"by\": \"x\"}' WHERE stream = 1 AND version = 2",
            "does not fit",
            "",
        ),
    ];
    for (damage, said_of_stream, said_of_feed) in cases {
        let config = config();
        let schema = schema_of(&config);
        // A store that knows the types from before, and one that does not know them yet.
        for is_new in [false, true] {
            let store = config.connect().await.unwrap();
            if !is_new {
                for counter in [1, 2, 1, 1] {
                    count(&store, counter).await.unwrap();
                }
                let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
                tokio::spawn(connection);
                let damage = damage.replace("{}", &schema);
                assert_eq!(client.execute(&damage, &[]).await.unwrap(), 1);
            }
            let error = count(&store, 1).await.unwrap_err();
            let said = chain(&error);
            assert!(said.contains(said_of_stream), "{damage}: {said}");
            count(&store, 2).await.unwrap();
            let read = feed(&store).await;
            match read {
                Ok(events) => assert!(said_of_feed.is_empty() && events > 3, "{damage}: {events}"),
                Err(error) => {
                    assert!(matches!(error, EventStoreError::Corrupt { .. }), "{error}");
                    assert!(!said_of_feed.is_empty(), "{error}");
                    let said = chain(&error);
                    assert!(said.contains(said_of_feed), "{said}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_store_without_its_sequencer_does_nothing() {
    let config = config();
    let store = config.connect().await.unwrap();
    count(&store, 1).await.unwrap();
    let (client, connection) = tokio_postgres::connect(&url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let damage = format!("DELETE FROM {}.sequencer", schema_of(&config));
    assert_eq!(client.execute(&damage, &[]).await.unwrap(), 1);
    for error in [
        chain(&count(&store, 1).await.unwrap_err()),
        chain(&feed(&store).await.unwrap_err()),
    ] {
        assert!(error.contains("the sequencer has no row"), "{error}");
    }
}
