//! Swaps of read models on SQLite, seen and killed from other processes: there is the old one or the new one, and nothing
//! between.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    time::{Duration, Instant},
};

use eventcore::{
    projection::{Leadership, Lease, Progress, ProjectionDatabase, ReadModel, RebuildOutcome},
    sqlite::{
        SqliteEventStore, SqliteReadModel,
        rusqlite::{Connection, OpenFlags, Row, TransactionBehavior},
    },
};

use crate::{
    projection::add,
    scripted::{SOON, Scripted, head, project, rebuild, runner, store_of},
};

const CHILD: &str = "EVENTCORE_TEST_CHILD";
const EVENTS: u64 = 20;
/// Rows for each event: the read model has about 4 MiB.
const ROWS: u64 = 200;

fn is_long() -> bool {
    std::env::var_os("EVENTCORE_TEST_LONG").is_some()
}

/// A version of the read model. Of odd ones `data` is a view, of even ones a table.
fn version(v: u64) -> Scripted {
    let data = if v.is_multiple_of(2) {
        "CREATE TABLE IF NOT EXISTS data (n INTEGER PRIMARY KEY, v INTEGER, pad BLOB)"
    } else {
        "CREATE TABLE IF NOT EXISTS base (pad BLOB, n INTEGER, v INTEGER); CREATE INDEX IF NOT EXISTS by_n ON base (n);
         CREATE VIEW IF NOT EXISTS data AS SELECT n, v, pad FROM base"
    };
    let prepare = format!("CREATE TABLE IF NOT EXISTS version (v INTEGER); {data}");
    let table = if v.is_multiple_of(2) { "data" } else { "base" };
    Scripted::new(&prepare, move |event| {
        format!(
            "INSERT INTO version SELECT {v} WHERE NOT EXISTS (SELECT 1 FROM version);
             WITH RECURSIVE row (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM row WHERE i < {ROWS})
             INSERT INTO {table} (n, v, pad) SELECT {event} * 1000 + i, {v}, zeroblob(1000) FROM row"
        )
    })
}

const LOOK: &str = "SELECT (SELECT v FROM version), min(v), max(v), count(*), sum(n) FROM data";

/// The version that a look shows, if it is one.
fn look(file: &Connection) -> Result<u64, String> {
    let mut statement = file
        .prepare_cached(LOOK)
        .map_err(|error| error.to_string())?;
    let row = statement.query_row([], |row| {
        Ok([
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get::<_, u64>(4)?,
        ])
    });
    let [version, least, most, count, sum] = row.map_err(|error| error.to_string())?;
    let rows = EVENTS * ROWS;
    let whole = ROWS * 1000 * EVENTS * (EVENTS + 1) / 2 + EVENTS * ROWS * (ROWS + 1) / 2;
    if (version, version, rows, whole) == (least, most, count, sum) {
        Ok(version)
    } else {
        Err(format!(
            "mixed: version {version}, rows of {least} to {most}, {count} of {rows}, sum {sum} for {whole}"
        ))
    }
}

fn open(path: &Path) -> Connection {
    let file = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    file.busy_timeout(SOON).unwrap();
    file
}

#[test]
fn a_look_finds_what_is_mixed() {
    let file = Connection::open_in_memory().unwrap();
    file.execute_batch(
        "CREATE TABLE version (v); CREATE TABLE data (n INTEGER PRIMARY KEY, v, pad)",
    )
    .unwrap();
    let version = version(4);
    for event in 1..=EVENTS {
        file.execute_batch(&(version.apply)(event)).unwrap();
    }
    assert_eq!(look(&file), Ok(4));
    for (wrong, right) in [
        (
            "UPDATE data SET v = 5 WHERE n = 7007",
            "UPDATE data SET v = 4",
        ),
        ("UPDATE version SET v = 5", "UPDATE version SET v = 4"),
        (
            "UPDATE data SET n = 999999 WHERE n = 7007",
            "UPDATE data SET n = 7007 WHERE n = 999999",
        ),
        ("DELETE FROM data WHERE n = 7007", ""),
    ] {
        file.execute_batch(wrong).unwrap();
        assert!(look(&file).is_err(), "{wrong}");
        file.execute_batch(right).unwrap();
    }
}

/// The file that a reader makes once it has looked.
fn looked(path: &Path, reader: &str) -> PathBuf {
    path.with_extension(format!("{reader}-looked"))
}

/// Looks until it is told to stop: statement by statement, and twice in a transaction, which must agree. By its own
/// connection, and by one to which the read model is attached. Returns the number of looks.
fn look_on(path: &Path, reader: &str) -> u64 {
    let mut direct = open(path);
    let attached = Connection::open_in_memory().unwrap();
    attached.busy_timeout(SOON).unwrap();
    let uri = path.display().to_string();
    attached.execute("ATTACH ?1 AS zoo", [uri]).unwrap();
    let (mut looks, mut last) = (0, 0);
    let end = path.with_extension("end");
    while !end.exists() {
        for file in [&direct, &attached] {
            let seen = look(file).unwrap();
            assert!(seen >= last, "version {seen} after {last}");
            last = seen;
        }
        let snapshot = direct
            .transaction_with_behavior(TransactionBehavior::Deferred)
            .unwrap();
        let first = look(&snapshot).unwrap();
        for _ in 0..3 {
            assert_eq!(look(&snapshot), Ok(first));
        }
        drop(snapshot);
        last = first;
        if looks == 0 {
            std::fs::write(looked(path, reader), "").unwrap();
        }
        looks += 6;
    }
    looks
}

fn spawn(what: &str, path: &Path) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["swaps::child", "--exact", "--nocapture"])
        .env(CHILD, format!("{what} {}", path.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The task of a process of its own; nothing in the test run itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(task) = std::env::var(CHILD) else {
        return;
    };
    let (what, path) = task.split_once(' ').unwrap();
    match what.parse::<u64>() {
        Ok(new) => {
            let store = SqliteEventStore::open(path).await.unwrap();
            // A short lease: who resumes what was killed waits for it.
            let runner = runner(&store, version(new)).lease(Duration::from_millis(200));
            let outcome = runner.start_rebuild().join().await.unwrap();
            assert_eq!(outcome, RebuildOutcome::Swapped);
        }
        Err(_) => assert!(look_on(Path::new(path), what) > 0),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_one_version_or_the_other_while_swaps_go_on() {
    let store = store_of(EVENTS).await;
    project(&store, version(0)).await;
    let path = store.read_model("zoo");
    let mut readers: Vec<_> = ["one", "two"].map(|reader| spawn(reader, &path)).into();
    let here = {
        let path = path.clone();
        std::thread::spawn(move || look_on(&path, "here"))
    };
    // All of them look before the first swap.
    let began = Instant::now();
    while !["one", "two", "here"]
        .iter()
        .all(|reader| looked(&path, reader).exists())
    {
        assert!(began.elapsed() < SOON, "a reader does not begin");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let swaps = if is_long() { 200 } else { 12 };
    for v in 1..=swaps {
        rebuild(&store, version(v)).await;
        assert_eq!(look(&open(&path)), Ok(v));
    }
    std::fs::write(path.with_extension("end"), "").unwrap();
    assert!(here.join().unwrap() > 0);
    for reader in &mut readers {
        assert!(
            reader.wait().unwrap().success(),
            "a reader saw something else"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_is_killed_leaves_the_old_one_or_the_new_one() {
    let store = store_of(EVENTS).await;
    project(&store, version(0)).await;
    let (path, file) = (store.read_model("zoo"), store.read_model("zoo"));
    let file = file.display().to_string();
    let file = Path::new(file.strip_suffix(".zoo.db").unwrap()).to_owned();
    let kills = if is_long() { 100 } else { 10 };
    let mut live = 0;
    for v in 1..=kills {
        let mut victim = spawn(&v.to_string(), &file);
        // As soon as all events are applied, the swap begins; some kills come before it, some meanwhile, some later.
        let built = || -> Option<(u64, u64)> {
            let rebuilt = Connection::open_with_flags(
                path.with_extension("rebuild"),
                OpenFlags::SQLITE_OPEN_READ_ONLY,
            );
            let sql = "SELECT v, position FROM version, eventcore_projections";
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            rebuilt.ok()?.query_row(sql, [], row).ok()
        };
        while built() != Some((v, EVENTS)) && victim.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(1500) * u32::try_from(v % 12).unwrap());
        victim.kill().unwrap();
        victim.wait().unwrap();
        let now = look(&open(&path)).unwrap();
        assert!(
            now == live || now == v,
            "version {now} after {live} and {v}"
        );
        live = now;
        let check: String = open(&path)
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        let record = store.live("zoo").record().await.unwrap().unwrap();
        assert_eq!(record.position.get(), EVENTS);
        // Every other one is resumed, with the same code.
        if v.is_multiple_of(2) {
            let resumed = runner(&store, version(v)).resume_rebuild().join().await;
            assert_eq!(resumed.unwrap(), RebuildOutcome::Swapped);
            assert_eq!(look(&open(&path)), Ok(v));
            live = v;
        }
    }
    // The one that is there goes on.
    let end = add(&store, 1, 1).await;
    project(&store, version(live)).await;
    let record = store.live("zoo").record().await.unwrap().unwrap();
    assert_eq!(record.position, end);
}

/// The size of a large read model, and of the part that a swap has copied before it is taken to be under way.
const LARGE: u64 = 100 << 20;
const UNDER_WAY: u64 = 4 << 20;

/// Builds a large read model beside the live one, ready to be swapped in.
async fn build_large(store: &SqliteEventStore) -> (SqliteReadModel, Lease) {
    let rebuild = store.rebuild("zoo", true).await.unwrap();
    let Leadership::Taken(lease) = rebuild.lead("me", SOON).await.unwrap() else {
        panic!("nobody else rebuilds")
    };
    let mut tx = rebuild.begin(&lease).await.unwrap();
    tx.execute_batch("CREATE TABLE large (n INTEGER PRIMARY KEY, pad BLOB)")
        .unwrap();
    for n in 0..LARGE >> 20 {
        tx.execute("INSERT INTO large VALUES (?1, zeroblob(1 << 20))", [n])
            .unwrap();
    }
    let progress = Progress {
        position: head(store).await,
        term: SOON,
        park: None,
        replayed: None,
    };
    rebuild.commit(tx, &lease, progress).await.unwrap();
    (rebuild, lease)
}

/// Runs commands while a large read model is copied over a small one. Returns the number of those that began while it was
/// copied, and of those among them that were done before anyone could see the result. What `lock` returns is held during the
/// swap.
async fn commands_during_a_swap(lock: fn(&Path) -> Option<Connection>) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let store = SqliteEventStore::open(&file).await.unwrap();
    add(&store, 1, 1).await;
    project(&store, version(2)).await;
    let (rebuild, lease) = build_large(&store).await;
    let (path, live, end) = (
        store.read_model("zoo"),
        store.live("zoo"),
        head(&store).await,
    );
    let log = path.with_extension("db-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let under_way = size(&log) + UNDER_WAY;
    let reader = open(&path);
    let is_swapped = || {
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'large'";
        let found = reader.query_row(tables, [], |row| row.get::<_, u64>(0));
        found.unwrap() == 1
    };
    let swapping = tokio::spawn(async move {
        let _lock = lock(&file);
        live.swap(&rebuild, &lease, end).await
    });
    let (mut begun, mut done) = (0, 0);
    while !is_swapped() && !swapping.is_finished() {
        if size(&log) < under_way {
            tokio::task::yield_now().await;
            continue;
        }
        begun += 1;
        add(&store, 1, 1).await;
        done += u64::from(!is_swapped());
    }
    assert!(swapping.await.unwrap().unwrap());
    assert!(is_swapped() && size(&path) >= LARGE);
    (begun, done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_go_on_while_a_large_read_model_is_swapped() {
    // A copy may be over before a command is, but not each time.
    for _ in 0..20 {
        let (_, done) = commands_during_a_swap(|_| None).await;
        if done > 0 {
            return;
        }
    }
    panic!("no command was done during a swap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_seen_to_wait_for_a_swap_that_locks_the_store() {
    let lock = |file: &Path| {
        let writer = Connection::open(file).unwrap();
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        Some(writer)
    };
    for _ in 0..20 {
        let (begun, done) = commands_during_a_swap(lock).await;
        assert_eq!(done, 0);
        if begun > 0 {
            return;
        }
    }
    panic!("no command began during a swap");
}
