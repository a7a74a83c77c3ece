//! Histories of commands that run at the same time, in several tasks and processes, on every store: none may have an
//! anomaly. And the controls: stores that break one promise each, which the checker has to find out.
//!
//! A program of its own: `scripts/history` runs it for hours, and its processes are this program again.
//!
//! `EVENTCORE_HISTORY_COMMANDS` (of each process) and `EVENTCORE_HISTORY_PROCESSES` make the runs longer:
//! `scripts/history` does.
#![cfg(all(feature = "macros", feature = "sqlite", feature = "postgres"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod liars;
#[path = "../support/server.rs"]
mod server;
mod workload;

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use eventcore::{
    EventStore,
    memory::MemoryEventStore,
    postgres::{PostgresConfig, PostgresEventStore},
    sqlite::SqliteEventStore,
    testing::{
        ChaosStore,
        history::{self, Anomaly, Entry, Verdict},
    },
};
use liars::{Fault, Liar};

/// Longer than anything takes on a busy machine.
const SOON: Duration = Duration::from_mins(10);

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

fn processes() -> u64 {
    number("EVENTCORE_HISTORY_PROCESSES", 3)
}

fn commands() -> u64 {
    number("EVENTCORE_HISTORY_COMMANDS", 200)
}

/// The verdict on commands of this process.
async fn here<S: EventStore>(store: &S, name: &str, commands: u64) -> Vec<Entry> {
    let lines = workload::run(store, Vec::new(), name, commands).await;
    history::read(&lines[..]).unwrap()
}

async fn verdict(store: &impl EventStore, entries: &[Entry]) -> Verdict {
    history::check(entries, &history::log(store).await.unwrap())
}

fn assert_clean(verdict: &Verdict, commands: u64) {
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    // A history in which little happened would show little.
    assert_eq!(verdict.commands as u64, commands, "{verdict}");
    let enough = verdict.commands / 20;
    assert!(
        verdict.committed > enough && verdict.read_only > enough && verdict.rejected > enough,
        "{verdict}"
    );
}

/// A store in memory whose calls take a while, so that commands come between one another's calls.
fn slow() -> ChaosStore<MemoryEventStore> {
    ChaosStore::new(MemoryEventStore::new(), 11)
        .latency(Duration::ZERO..=Duration::from_micros(500))
}

#[tokio::test]
async fn tasks_in_memory() {
    let store = slow();
    let entries = here(&store, "memory", 1_000).await;
    assert!(workload::assert_states(&entries) > 100);
    assert_clean(&verdict(store.inner(), &entries).await, 1_000);
    let counts = store.states().unwrap().counts();
    assert!(counts.hits > 300, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_on_a_store_that_fails_by_chance() {
    let store = slow()
        .conflicts(0.1)
        .failures(0.05)
        .unknown_before_commit(0.05)
        .unknown_after_commit(0.1);
    let entries = here(&store, "chaos", 1_000).await;
    assert!(workload::assert_states(&entries) > 100);
    let verdict = verdict(store.inner(), &entries).await;
    assert_clean(&verdict, 1_000);
    assert!(verdict.retried > 100, "{verdict}");
    assert!(store.counts().unknown_after_commit > 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_on_one_sqlite_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let entries = spawn(&folder, &format!("sqlite:{}", path.display())).await;
    let store = SqliteEventStore::open(&path).await.unwrap();
    assert_clean(&verdict(&store, &entries).await, processes() * commands());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_on_one_postgres_database() {
    let folder = tempfile::tempdir().unwrap();
    let schema = format!("history_{}", uuid::Uuid::now_v7().simple());
    let entries = spawn(&folder, &format!("postgres:{schema}")).await;
    assert_clean(
        &verdict(&postgres(&schema).await, &entries).await,
        processes() * commands(),
    );
}

async fn postgres(schema: &str) -> PostgresEventStore {
    let config = PostgresConfig::new(&server::url()).unwrap();
    config.schema(schema).unwrap().connect().await.unwrap()
}

/// One of the processes is killed, again and again, and started anew: what it was about to do is there whole or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_which_one_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.db");
    let store = format!("sqlite:{}", path.display());
    let survivor = Process::start(&folder, 0, &store);
    let mut entries = Vec::new();
    // Some kills come at its start, others amid its commands. At least six, and until one has met a command on its way.
    let (began, mut met) = (Instant::now(), false);
    for number in 1.. {
        if number > 6 && met {
            break;
        }
        assert!(began.elapsed() < SOON, "no command was killed on its way");
        let mut victim = Process::start(&folder, number, &store);
        while number % 3 != 0 && !victim.has_begun() && victim.child.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(number * 17 % 100)).await;
        victim.child.kill().unwrap();
        victim.child.wait().unwrap();
        let killed = victim.entries();
        let started = |entry: &&Entry| matches!(entry, Entry::Started(_));
        let ended = |entry: &&Entry| matches!(entry, Entry::Ended(_));
        met |= killed.iter().filter(started).count() > killed.iter().filter(ended).count();
        entries.extend(killed);
    }
    entries.extend(survivor.end().await);
    let store = SqliteEventStore::open(&path).await.unwrap();
    let verdict = verdict(&store, &entries).await;
    println!("{verdict}");
    assert!(verdict.is_clean(), "{verdict}");
    assert!(verdict.unknown > 0 && verdict.committed > 50, "{verdict}");
}

/// Runs this test program several times, as `one_of_the_processes`, all at once.
async fn spawn(folder: &tempfile::TempDir, store: &str) -> Vec<Entry> {
    let start = |number| Process::start(folder, number, store);
    let running: Vec<_> = (0..processes()).map(start).collect();
    let mut entries = Vec::new();
    for process in running {
        entries.extend(process.end().await);
    }
    assert!(workload::assert_states(&entries) > 20);
    entries
}

struct Process {
    child: Child,
    lines: PathBuf,
}

impl Process {
    fn start(folder: &tempfile::TempDir, number: u64, store: &str) -> Self {
        let lines = folder.path().join(format!("{number}.jsonl"));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "one_of_the_processes"])
            .env("EVENTCORE_HISTORY_STORE", store)
            .env("EVENTCORE_HISTORY_LINES", &lines)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, lines }
    }

    /// Waits for the end, which must be a good one.
    async fn end(self) -> Vec<Entry> {
        let Self { child, lines } = self;
        let wait = tokio::task::spawn_blocking(move || child.wait_with_output());
        let output = wait.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{}: {said}",
            lines.display()
        );
        entries(&lines)
    }

    /// Returns `true` if it has written a record.
    fn has_begun(&self) -> bool {
        self.lines.metadata().is_ok_and(|file| file.len() > 0)
    }

    /// Returns its records, if there are any.
    fn entries(&self) -> Vec<Entry> {
        if self.lines.exists() {
            entries(&self.lines)
        } else {
            Vec::new()
        }
    }
}

fn entries(lines: &Path) -> Vec<Entry> {
    history::read(BufReader::new(File::open(lines).unwrap())).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the tests with several processes, which start it"]
async fn one_of_the_processes() {
    let lines = std::env::var("EVENTCORE_HISTORY_LINES").expect("started by another test");
    let store = std::env::var("EVENTCORE_HISTORY_STORE").unwrap();
    let name = format!("process-{}", std::process::id());
    let out = File::create(Path::new(&lines)).unwrap();
    match store.split_once(':').unwrap() {
        ("sqlite", path) => {
            let store = SqliteEventStore::open(path).await.unwrap();
            workload::run(&store, out, &name, commands()).await;
        }
        ("postgres", schema) => {
            workload::run(&postgres(schema).await, out, &name, commands()).await;
        }
        other => panic!("{other:?}"),
    }
}

/// The anomaly that the check finds when a store has this fault.
async fn control(fault: Fault) -> Verdict {
    let store = Liar::new(slow(), fault);
    let entries = here(&store, "control", 1_000).await;
    verdict(store.inner().inner(), &entries).await
}

macro_rules! controls {
    ($($name:ident: $fault:ident => $($anomaly:ident)|+;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let verdict = control(Fault::$fault).await;
            $(assert!(
                verdict.anomalies.iter().any(|anomaly| matches!(anomaly, Anomaly::$anomaly(_))),
                "no {} in {verdict}",
                stringify!($anomaly),
            );)+
        }
    )*};
}

controls! {
    control_streams_that_are_only_read_are_not_checked: ReadOnlyUnchecked => ExpectedVersion | Cycle;
    control_reads_are_stale: StaleReads => Cycle;
    control_commits_are_acknowledged_and_lost: EarlyAcknowledgement => Lost;
    control_commits_are_torn: Torn => Torn;
    control_commits_are_made_twice: Doubled => Doubled;
    control_refused_commits_are_made: Phantom => Phantom;
    control_reads_make_up_events: OtherEvents => WrongAnswer;
}
