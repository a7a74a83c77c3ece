//! The replay of the flights: complete, repeated, and interrupted.

mod program;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output},
};

use eventcore::sqlite::rusqlite::Connection;
use program::{err, out, program};

const AIRPORTS: &str = env!("CARGO_BIN_EXE_airports");
const CHECKED: &str =
    "checked: every flight is there once on both sides, positions and versions have no gap";

fn airports(folder: &Path, limit: &str) -> Command {
    program(
        AIRPORTS,
        folder,
        &["--database", "flights.db", "--limit", limit],
    )
}

/// Returns the number of flights that were committed, and of those that were there already.
fn counts(output: &Output) -> (u64, u64) {
    let said = out(output);
    let line = said
        .lines()
        .find(|line| line.ends_with("already there"))
        .unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

fn assert_whole(output: &Output, flights: u64) {
    let said = out(output);
    assert!(output.status.success(), "{said}{}", err(output));
    assert!(said.contains(CHECKED), "{said}");
    let log = format!(
        "the log holds {} events: {flights} departures and {flights} arrivals",
        2 * flights
    );
    assert!(said.contains(&log), "{said}");
}

/// Starts a replay and waits until it has done some flights.
fn under_way(folder: &Path, limit: &str) -> Child {
    let mut child = airports(folder, limit).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("flights"));
    // Without a reader, the program would block on a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn a_second_run_appends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = airports(folder.path(), "500").output().unwrap();
    assert_whole(&first, 500);
    assert_eq!(counts(&first), (500, 0));
    let second = airports(folder.path(), "500").output().unwrap();
    assert_whole(&second, 500);
    assert_eq!(counts(&second), (0, 500));
}

#[test]
fn a_killed_replay_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut child = under_way(folder.path(), "2000");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let resumed = airports(folder.path(), "2000").output().unwrap();
    assert_whole(&resumed, 2000);
    let (committed, already_there) = counts(&resumed);
    assert!(
        already_there > 0 && committed + already_there == 2000,
        "{committed} and {already_there}"
    );
    assert!(out(&resumed).contains("airport  departures  arrivals"));
    assert_eq!(board(folder.path()), listed(2000));
}

/// Returns the board's totals of all airports: departures, arrivals, minutes of delay.
fn board(folder: &Path) -> (i64, i64, i64) {
    let sql = "SELECT sum(departures), sum(arrivals), sum(delay_minutes) FROM airport_board";
    Connection::open(folder.join("flights.db.airport_board.db"))
        .and_then(|file| file.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
        .unwrap()
}

/// Returns the same totals, from the list.
fn listed(flights: usize) -> (i64, i64, i64) {
    let list = include_str!("../data/flights-2001.csv").lines().skip(1);
    let delays = list
        .take(flights)
        .map(|line| line.rsplit(',').next().unwrap().parse::<i64>().unwrap());
    let count = i64::try_from(flights).unwrap();
    (count, count, delays.sum())
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_it_in_order_and_the_next_run_completes_it() {
    let folder = tempfile::tempdir().unwrap();
    let child = under_way(folder.path(), "3000");
    let interrupt = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -INT {}", child.id()))
        .status()
        .unwrap();
    assert!(interrupt.success());
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", out(&stopped));
    assert!(
        out(&stopped).ends_with("stopped; run it again to resume\n"),
        "{}",
        out(&stopped)
    );
    let before = counts(&stopped).0;
    let resumed = airports(folder.path(), "3000").output().unwrap();
    assert_whole(&resumed, 3000);
    assert_eq!(counts(&resumed), (3000 - before, before));
}

#[test]
fn a_log_that_does_not_fit_the_list_is_reported_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    assert_whole(&airports(folder.path(), "5").output().unwrap(), 5);
    // Another list, in which flights 1 to 5 are not those of the log.
    let list = "departure,origin,destination,distance_miles,delay_minutes\n2001-01-01 00:47,BOS,JFK,187,0\n";
    std::fs::write(folder.path().join("other.csv"), list).unwrap();
    let arguments = ["--database", "flights.db", "--flights", "other.csv"];
    let output = program(AIRPORTS, folder.path(), &arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = err(&output);
    assert!(
        said.contains("wrong: flight 1 from DTW to LAS is not in the list"),
        "{said}"
    );
    assert!(
        said.contains(
            "wrong: flight 1 departed 2 time(s), arrived 2 time(s): not once, in one commit"
        ),
        "{said}"
    );
}

/// Runs the check on the files that the processes have written.
fn check(folder: &Path, files: &[&str]) -> Output {
    let arguments = [&["--database", "flights.db", "--check"], files].concat();
    program(AIRPORTS, folder, &arguments).output().unwrap()
}

fn share(folder: &Path, share: &str, acknowledged: &str) -> Command {
    let arguments = ["--database", "flights.db", "--share", share];
    let mut command = program(AIRPORTS, folder, &arguments);
    command.args(["--clients", "8", "--acknowledged", acknowledged]);
    command
}

#[test]
fn several_processes_share_the_flights_and_what_they_note_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let processes = [("1/2", "one"), ("2/2", "two")].map(|(part, file)| {
        let mut process = share(folder, part, file);
        process.args(["--limit", "800"]).spawn().unwrap()
    });
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        assert_eq!(counts(&output), (400, 0));
    }
    let clean = check(folder, &["one", "two"]);
    assert_whole(&clean, 800);
    let said = out(&clean);
    assert!(
        said.starts_with("acknowledged 800, lost 0, doubled 0, torn 0, positions out of order 0 (800 commits stored"),
        "{said}"
    );

    // A flight that was never flown, and a movement that the board counts twice.
    std::fs::write(folder.join("more"), "9000 1\n9001").unwrap();
    let file = Connection::open(folder.join("flights.db.airport_board.db")).unwrap();
    let sql = "UPDATE airport_board SET arrivals = arrivals + 1 WHERE airport = 'ATL'";
    assert_eq!(file.execute(sql, []).unwrap(), 1);
    let wrong = check(folder, &["one", "two", "more"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        out(&wrong).starts_with("acknowledged 801, lost 1, doubled 0,"),
        "{}",
        out(&wrong)
    );
    assert!(
        err(&wrong).contains("movements at ATL, the log"),
        "{}",
        err(&wrong)
    );
}

/// A board with wrong rows is right after a rebuild.
#[test]
fn the_board_is_built_anew_with_its_progress() {
    let folder = tempfile::tempdir().unwrap();
    let flown = airports(folder.path(), "2000").output().unwrap();
    assert_whole(&flown, 2000);
    let file = Connection::open(folder.path().join("flights.db.airport_board.db")).unwrap();
    file.execute_batch("UPDATE airport_board SET arrivals = arrivals + 1")
        .unwrap();
    drop(file);
    assert_ne!(board(folder.path()), listed(2000));
    let rebuilt = airports(folder.path(), "2000")
        .arg("--rebuild")
        .output()
        .unwrap();
    let said = out(&rebuilt);
    assert!(rebuilt.status.success(), "{said}{}", err(&rebuilt));
    assert!(
        said.contains("the board was rebuilt") && said.contains("airport  departures  arrivals"),
        "{said}"
    );
    let progress = err(&rebuilt);
    assert!(
        progress.contains("4000/4000 events, ") && !progress.contains(" 0/s"),
        "{progress}"
    );
    assert_eq!(board(folder.path()), listed(2000));
}

#[test]
fn the_list_is_flown_on_and_on_and_a_killed_process_has_noted_nothing_that_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut endless = share(folder, "3/3", "noted");
    let mut child = endless
        .args(["--endless", "--limit", "30"])
        .spawn()
        .unwrap();
    let noted = || std::fs::read_to_string(folder.join("noted")).unwrap_or_default();
    // The share has ten flights.
    while noted().lines().count() < 100 {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let clean = check(folder, &["noted"]);
    let said = out(&clean);
    assert!(clean.status.success(), "{said}{}", err(&clean));
    assert!(said.contains(", lost 0, doubled 0, torn 0,"), "{said}");
    let numbers: std::collections::HashSet<u32> = noted()
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.parse().ok())
        .collect();
    assert!(
        numbers.contains(&3) && numbers.contains(&20_003),
        "{numbers:?}"
    );
}
