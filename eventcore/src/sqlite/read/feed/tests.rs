use rusqlite::{Connection, StatementStatus};

use super::*;
use crate::{
    EventSelector, StreamId,
    sqlite::{
        read::{
            interner::StreamIds,
            thread::{PageLimits, Reader},
        },
        schema,
    },
};

/// Creates a log of `events` events in one stream of the category `busy`, with a hundred events of
/// `rare` spread evenly among them.
fn log(folder: &tempfile::TempDir, events: u64) -> Reader {
    let path = folder.path().join(format!("{events}.db"));
    let connection = schema::open(&path).unwrap();
    connection
        .execute_batch(
            "INSERT INTO streams (name) VALUES ('busy-1'), ('rare-1');
             INSERT INTO event_types (category, name) VALUES ('busy', 'Ran'), ('busy', 'Sat'), ('rare', 'Ran')",
        )
        .unwrap();
    let insert = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1)
        INSERT INTO events (position, stream, version, type, event_id, recorded_at, payload)
        SELECT n, iif(n % (?1 / 100), 1, 2), iif(n % (?1 / 100), n - n / (?1 / 100), n / (?1 / 100)),
               iif(n % (?1 / 100), 1 + n % 2, 3), zeroblob(16), n, '1' FROM n";
    connection.execute(insert, [sql(events)]).unwrap();
    drop(connection);
    let connection = schema::open_reader(&path, schema::BUSY).unwrap();
    Reader::new(connection, PageLimits::default(), StreamIds::default())
}

fn page(reader: &mut Reader, filter: EventFilter, limit: usize) -> FeedPage {
    let after = Position::START;
    let request = ReadFeedRequest {
        after,
        filter,
        limit,
    };
    reader.feed(&request).unwrap()
}

/// Returns the number of virtual machine steps of the statements that read events.
fn steps(connection: &Connection) -> i32 {
    [SCAN, ONE, STREAM, POSITIONS]
        .map(|query| {
            let statement = connection.prepare_cached(query).unwrap();
            statement.get_status(StatementStatus::VmStep)
        })
        .iter()
        .sum()
}

#[test]
fn a_filter_costs_what_matches_and_not_what_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let rare = EventFilter::any_of([EventSelector::category("rare")]);
    let stream = EventFilter::Stream(StreamId::new("rare-1").unwrap());
    for filter in [rare, stream] {
        let [small, large] = [10_000, 300_000].map(|events| {
            let mut reader = log(&folder, events);
            let found = page(&mut reader, filter.clone(), 1000);
            assert_eq!((found.events.len(), found.scanned_to.get()), (100, events));
            let steps = steps(&reader.connection);
            let _ = std::fs::remove_file(folder.path().join(format!("{events}.db")));
            steps
        });
        assert!(
            large < small * 2,
            "{filter:?}: {small} steps for 100 of 10,000 events, {large} for 100 of 300,000"
        );
    }
}

#[test]
fn a_frequent_event_costs_one_page_and_not_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut reader = log(&folder, 300_000);
    for filter in [
        EventFilter::All,
        EventFilter::any_of([EventSelector::of_type("Ran")]),
        EventFilter::any_of([EventSelector::category("busy")]),
    ] {
        let before = steps(&reader.connection);
        assert_eq!(page(&mut reader, filter.clone(), 1000).events.len(), 1000);
        let steps = steps(&reader.connection) - before;
        assert!(steps < 60_000, "{filter:?}: {steps} steps for 1,000 events");
    }
}

#[test]
fn the_index_alone_finds_what_matches() {
    let folder = tempfile::tempdir().unwrap();
    let reader = log(&folder, 1000);
    let plan = |query: &str, values: &[&dyn rusqlite::ToSql]| {
        let explain = format!("EXPLAIN QUERY PLAN {query}");
        let mut statement = reader.connection.prepare(&explain).unwrap();
        let rows = statement.query_map(values, |row| row.get::<_, String>(3));
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let found = plan(POSITIONS, params!["[1]", 0, 1]);
    assert!(
        found.iter().any(|step| step
            == "SEARCH events USING COVERING INDEX events_by_type (type=? AND rowid>? AND rowid<?)"),
        "{found:?}"
    );
    let found = plan(STREAM, params![1, 0, 1]);
    assert!(found[0].contains("(stream=? AND version>?)"), "{found:?}");
    let found = plan(SCAN, params![0, 1, 1]);
    assert!(found[0].contains("USING INTEGER PRIMARY KEY"), "{found:?}");
}
