//! PostgreSQL behind pgbouncer in transaction mode, where any statement may meet another connection to the server.

use std::time::Duration;

use eventcore::{
    EventFilter, EventStore, Position, RetryPolicy, execute,
    postgres::{PostgresConfig, PostgresEventStore},
    store::ReadFeedRequest,
};
use futures_util::future::join_all;
use tokio::time::timeout;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::chain::chain;
use crate::{
    counter::{Count, CounterId},
    server,
};

/// Connections that the pooler has to the server (`scripts/postgres`).
const SERVERS: usize = 8;
const PATIENCE: Duration = Duration::from_mins(1);
const NEVER: Duration = Duration::from_mins(10);

fn pooler() -> String {
    std::env::var("EVENTCORE_POSTGRES_POOLER").expect(
        "this test needs pgbouncer: run it as `scripts/postgres cargo test …`, which starts one, or set \
         EVENTCORE_POSTGRES_POOLER to the database behind a pooler in transaction mode",
    )
}

/// The same schema directly, and through the pooler.
fn configs() -> [PostgresConfig; 2] {
    let direct = server::config();
    let pooled = PostgresConfig::new(&pooler())
        .unwrap()
        .schema(server::schema_of(&direct))
        .unwrap()
        .prepared_statements(false);
    [direct, server::patient(pooled)]
}

/// As the guide says: prepared statements where the pooler knows them, which pgbouncer does from 1.21 on.
async fn pooled() -> PostgresEventStore {
    let [_, pooled] = configs();
    let pooled = pooled.prepared_statements(keeps_statements().await);
    pooled.connect().await.unwrap()
}

async fn keeps_statements() -> bool {
    let pooler = pooler();
    let (server, _) = pooler.rsplit_once('/').unwrap();
    let console = format!("{server}/pgbouncer");
    let (client, connection) = tokio_postgres::connect(&console, NoTls).await.unwrap();
    tokio::spawn(connection);
    let said = client.simple_query("SHOW VERSION").await.unwrap();
    let version = said.iter().find_map(|said| match said {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let version = version.unwrap().trim_start_matches("PgBouncer ");
    let mut numbers = version.split('.').map(|number| number.parse().unwrap());
    (numbers.next(), numbers.next()) >= (Some(1), Some(21))
}

mod contract {
    eventcore::contract_tests!(super::pooled());
}

async fn count(store: &PostgresEventStore, own: u64) -> Position {
    let counters = vec![CounterId(own), CounterId(0)];
    let policy = RetryPolicy::new().max_attempts(1000).deadline(PATIENCE);
    let counted = execute(store, Count { counters }, policy).await;
    counted.unwrap().position()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_several_processes_share_the_pooler() {
    let [direct, pooled] = configs();
    let stores = [
        pooled.connect().await.unwrap(),
        pooled.connect().await.unwrap(),
        direct.connect().await.unwrap(),
    ];
    let clients = (1..=30).map(|client| {
        let store = stores[client % stores.len()].clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                count(&store, client as u64).await;
            }
        })
    });
    for client in join_all(clients.collect::<Vec<_>>()).await {
        client.unwrap();
    }
    for store in &stores {
        let request = ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 1024,
        };
        let page = store.read_feed(request).await.unwrap();
        let positions = page.events.iter().map(|event| event.position.get());
        assert!(positions.eq(1..=600));
    }
}

#[tokio::test]
async fn who_waits_behind_a_pooler_polls_and_leaves_no_listener_on_a_shared_connection() {
    let [direct, pooled] = configs();
    // Nothing would wake it if it took itself for one who hears.
    let waiting = pooled.clone().notified_poll_interval(NEVER);
    let waiting = waiting.connect().await.unwrap();
    let writer = direct.connect().await.unwrap();
    let hears = direct
        .clone()
        .poll_interval(NEVER)
        .notified_poll_interval(NEVER);
    let hears = hears.connect().await.unwrap();
    let pooled = pooled.connect().await.unwrap();
    let mut head = Position::START;
    for round in 1..20 {
        let waiters = [&waiting, &hears].map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.wait_for_event(head).await })
        });
        // What is announced through the pooler is heard by those who have a connection of their own.
        head = count(if round % 2 == 0 { &writer } else { &pooled }, round).await;
        for waiter in waiters {
            let woken = timeout(PATIENCE, waiter).await.expect("it is woken");
            woken.unwrap().unwrap();
        }
    }
    // All connections of the pooler at once.
    let mut transactions = Vec::new();
    for _ in 0..SERVERS {
        let (client, connection) = tokio_postgres::connect(&pooler(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN").await.unwrap();
        let listening = client.simple_query("SELECT pg_listening_channels()").await;
        let listening = format!("{:?}", listening.unwrap());
        let schema = server::schema_of(&direct);
        assert!(!listening.contains(&schema), "{listening}");
        transactions.push(client);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepared_statements_are_kept_by_the_pooler_or_named_as_what_it_loses() {
    let [_, pooled] = configs();
    pooled.connect().await.unwrap();
    let config = pooled.prepared_statements(true).migrate_on_connect(false);
    let store = config.connect().await.unwrap();
    // Each has its own transactions, so that they meet different connections to the server.
    let calls = (0..10_000).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let request = ReadFeedRequest {
                after: Position::new(number),
                filter: EventFilter::All,
                limit: 1,
            };
            store.read_feed(request).await.err()
        })
    });
    let errors = join_all(calls.collect::<Vec<_>>()).await;
    let mut errors = errors.into_iter().filter_map(Result::unwrap);
    let lost = errors.next().map(|error| chain(&error));
    if keeps_statements().await {
        assert_eq!(lost, None);
    } else {
        let said = lost.expect("a statement is lost");
        assert!(said.contains("prepared_statements(false)"), "{said}");
    }
}
