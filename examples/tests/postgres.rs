//! The same programs on a PostgreSQL database.

#[path = "../guide/projections.rs"]
mod guide;
mod program;

use std::{
    path::Path,
    process::{Output, id},
    sync::atomic::{AtomicU32, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use eventcore::postgres::tokio_postgres::{self, NoTls};
use program::{err, out, program};

/// Returns the URL of a new store.
fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("EVENTCORE_POSTGRES_URL")
        .expect("this test needs a PostgreSQL server: run it as `scripts/postgres cargo test …`, which starts one");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    // A busy machine may need more time than the defaults allow.
    format!(
        "{url}?schema=test_{now}_{}_{number}&connect_timeout=30",
        id()
    )
}

fn run(binary: &str, database: &str, arguments: &[&str]) -> Output {
    let arguments = [&["--database", database], arguments].concat();
    program(binary, Path::new("."), &arguments)
        .output()
        .unwrap()
}

fn said(binary: &str, database: &str, arguments: &[&str]) -> String {
    let output = run(binary, database, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", err(&output));
    out(&output)
}

#[test]
fn a_bank_keeps_its_accounts_in_the_database() {
    let (bank, database) = (env!("CARGO_BIN_EXE_bank"), database());
    said(bank, &database, &["open", "ada", "Ada"]);
    said(bank, &database, &["open", "grace", "Grace"]);
    said(bank, &database, &["deposit", "ada", "100"]);
    for _ in 0..2 {
        said(
            bank,
            &database,
            &["--request", "once", "transfer", "ada", "grace", "30"],
        );
    }
    assert!(said(bank, &database, &["statement", "ada"]).ends_with("balance 70\n"));
    let refused = run(bank, &database, &["transfer", "ada", "grace", "71"]);
    assert_eq!(refused.status.code(), Some(1), "{}", err(&refused));
}

#[test]
fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let url = "postgres://me:not-to-be-told@127.0.0.1:1/db";
    let output = run(env!("CARGO_BIN_EXE_bank"), url, &["statement", "ada"]);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("cannot be reached") && !said.contains("not-to-be-told"),
        "{said}"
    );
}

#[tokio::test]
async fn the_balances_of_the_guide_are_projected_and_rebuilt() {
    let url = database();
    let store = eventcore::postgres::PostgresEventStore::connect(&url)
        .await
        .unwrap();
    guide::postgres::check(store).await;
    let (server, schema) = url.split_once("?schema=").unwrap();
    let (schema, _) = schema.split_once('&').unwrap();
    let (client, connection) = tokio_postgres::connect(server, NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = format!("SELECT amount FROM {schema}_balances.balances WHERE account = 7");
    let rows = client.query(&sql, &[]).await.unwrap();
    assert_eq!(rows[0].get::<_, i64>(0), 30);
}

#[test]
fn the_flights_are_replayed_once() {
    let (airports, database) = (env!("CARGO_BIN_EXE_airports"), database());
    let first = said(airports, &database, &["--limit", "300"]);
    assert!(
        first.contains("300 committed, 0 already there") && first.contains("checked: every flight"),
        "{first}"
    );
    let password = database.split([':', '@']).nth(2).unwrap();
    assert!(
        first.contains("into schema test_") && !first.contains(password),
        "{first}"
    );
    let second = said(airports, &database, &["--limit", "300"]);
    assert!(
        second.contains("0 committed, 300 already there"),
        "{second}"
    );
}

#[test]
fn several_processes_share_the_flights_and_each_store_of_a_database_has_a_board_of_its_own() {
    let airports = env!("CARGO_BIN_EXE_airports");
    let [one, other] = [database(), database()];
    for limit in ["300", "200"] {
        let database = if limit == "300" { &one } else { &other };
        let processes = ["1/2", "2/2"].map(|share| {
            let arguments = ["--database", database, "--limit", limit, "--share", share];
            program(airports, Path::new("."), &arguments)
                .spawn()
                .unwrap()
        });
        for process in processes {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", err(&output));
        }
    }
    for (database, flights) in [(one, 300), (other, 200)] {
        let checked = said(airports, &database, &["--check"]);
        let departures = format!("{flights} departures and {flights} arrivals");
        assert!(
            checked.contains(&departures) && checked.contains("checked: every flight"),
            "{checked}"
        );
        // After a rebuild, the board counts each flight once, and none of the other store.
        let rebuilt = said(airports, &database, &["--rebuild"]);
        assert!(rebuilt.contains("the board was rebuilt"), "{rebuilt}");
        let checked = said(airports, &database, &["--check"]);
        assert!(checked.contains("checked: every flight"), "{checked}");
    }
}

#[test]
fn the_story_of_the_shop_is_told_once_in_a_database() {
    let (orders, database) = (env!("CARGO_BIN_EXE_orders"), database());
    let in_memory = program(orders, Path::new("."), &[]).output().unwrap();
    assert_eq!(said(orders, &database, &[]), out(&in_memory));
    let again = run(orders, &database, &[]);
    assert!(
        !again.status.success() && err(&again).contains("there is a shop already"),
        "{}",
        err(&again)
    );
}
