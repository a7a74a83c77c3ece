//! A leader whose commits a standby has to confirm, and that has none: as one is that was replaced while it hung, and does
//! not know it. What it says is not the present, so nothing that it decides may be acknowledged.

use std::{convert::Infallible, time::Duration};

use eventcore::{
    Command, CommandError, CommandLogic, Event, RetryPolicy, StreamKey, execute,
    postgres::PostgresEventStore,
};
use serde::{Deserialize, Serialize};

use crate::own_server;

#[derive(Serialize, Deserialize, Event)]
enum DoorEvent {
    Closed,
}

#[derive(StreamKey)]
#[stream_key(category = "door", event = DoorEvent)]
struct DoorId(u32);

/// Once it is closed there is nothing to write.
#[derive(Command)]
struct Close {
    #[stream]
    door: DoorId,
}

impl CommandLogic for Close {
    type State = bool;
    type Error = Infallible;

    fn apply(&self, closed: &mut bool, CloseEvent::Door(DoorEvent::Closed): CloseEvent<'_>) {
        *closed = true;
    }

    fn handle(&self, closed: &bool, streams: CloseStreams<'_>) -> Result<(), Infallible> {
        if !closed {
            streams.door.append(DoorEvent::Closed);
        }
        Ok(())
    }
}

async fn close(store: &PostgresEventStore, door: u32) -> Result<usize, CommandError<Infallible>> {
    let door = DoorId(door);
    let policy = RetryPolicy::new().deadline(Duration::from_secs(2));
    let closed = execute(store, Close { door }, policy).await?;
    Ok(closed.events_written())
}

#[tokio::test]
async fn a_command_that_writes_nothing_is_confirmed_by_a_standby_too() {
    let server = own_server::Server::start();
    let store = PostgresEventStore::connect(server.url()).await.unwrap();
    assert_eq!(close(&store, 1).await.unwrap(), 1);
    assert_eq!(close(&store, 1).await.unwrap(), 0);

    server
        .run("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
        .await;
    server.run("SELECT pg_reload_conf()").await;
    // The server takes note of it a moment later.
    let mut refused = None;
    for _ in 0..50 {
        refused = close(&store, 1).await.err();
        if refused.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = refused.expect("nobody confirmed it, and it was acknowledged");
    assert!(
        matches!(refused, CommandError::DeadlineExceeded { .. }),
        "nothing was to be written: {refused}"
    );

    server
        .run("ALTER SYSTEM RESET synchronous_standby_names")
        .await;
    server.run("SELECT pg_reload_conf()").await;
    // Whoever waits for a standby is let go.
    while close(&store, 1).await.is_err() {}
}
