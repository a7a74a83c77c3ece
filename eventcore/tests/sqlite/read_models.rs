//! Read models on SQLite: a rebuild carries over whatever SQLite can hold, and nothing of a projection gets out of its file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use eventcore::{
    EventFilter, EventStore, EventStoreError, Position,
    projection::{
        ErrorPolicy, Leadership, LeaseError, ProjectionDatabase, ProjectionError, ProjectionRunner,
        ProjectionState, ReadModel, RebuildOutcome, SubscriptionError, dead_letters, status,
    },
    sqlite::{SqliteEventStore, rusqlite::Connection},
    store::ReadFeedRequest,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    projection::{self, add},
    scripted::{
        self, SOON, Scripted, fails, head, picture, project, rebuild, rebuild_fails, runner,
        store_of,
    },
};

/// One of each kind of object, each filled by the events.
const ZOO: &str = "
    CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE);
    CREATE TABLE IF NOT EXISTS children (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents ON DELETE CASCADE,
        twice INTEGER GENERATED ALWAYS AS (parent * 2) STORED, later INTEGER GENERATED ALWAYS AS (parent * 3) VIRTUAL);
    CREATE TABLE IF NOT EXISTS deferred (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE IF NOT EXISTS counted (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER);
    CREATE TABLE IF NOT EXISTS gaps (n INTEGER);
    CREATE TABLE IF NOT EXISTS typed (a INTEGER, b TEXT, c BLOB, d REAL, e ANY) STRICT;
    CREATE TABLE IF NOT EXISTS keyed (a TEXT, b INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS \"odd \"\"name\" (\"a b\" TEXT DEFAULT 'x''y', CHECK (length(\"a b\") < 100));
    CREATE INDEX IF NOT EXISTS partial ON counted (n) WHERE n % 2 = 0;
    CREATE INDEX IF NOT EXISTS expression ON parents (lower(name), id DESC);
    CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, body TEXT);
    CREATE VIRTUAL TABLE IF NOT EXISTS own USING fts5 (body);
    CREATE VIRTUAL TABLE IF NOT EXISTS external USING fts5 (body, content='documents', content_rowid='id');
    CREATE VIRTUAL TABLE IF NOT EXISTS contentless USING fts5 (body, content='', contentless_delete=1);
    CREATE VIRTUAL TABLE IF NOT EXISTS older USING fts4 (body);
    CREATE VIRTUAL TABLE IF NOT EXISTS areas USING rtree (id, x0, x1, y0, y1);
    CREATE TRIGGER IF NOT EXISTS indexed AFTER INSERT ON documents BEGIN
        INSERT INTO external (rowid, body) VALUES (NEW.id, NEW.body);
    END;
    CREATE VIEW IF NOT EXISTS families AS SELECT name, count(children.id) AS n FROM parents LEFT JOIN children ON parent = parents.id GROUP BY name;
    CREATE VIEW IF NOT EXISTS large AS SELECT name FROM families WHERE n > 1;
    CREATE TRIGGER IF NOT EXISTS through INSTEAD OF INSERT ON large BEGIN
        INSERT INTO gaps VALUES (NEW.name);
    END;";

fn zoo() -> Scripted {
    Scripted::new(ZOO, |n| {
        format!(
            "INSERT OR IGNORE INTO parents VALUES ({m}, 'parent {m}');
             INSERT INTO deferred VALUES ({n} + 1000); INSERT INTO parents VALUES ({n} + 1000, 'late {n}');
             INSERT INTO children (parent) VALUES ({m});
             DELETE FROM parents WHERE id = {m} AND {n} % 11 = 0;
             INSERT INTO counted (n) VALUES ({n}); DELETE FROM counted WHERE n = {n} AND {n} % 3 = 0;
             INSERT INTO gaps (rowid, n) VALUES ({n} * 7, {n}); INSERT INTO large VALUES ({n});
             INSERT INTO typed VALUES ({n}, 'text {n}', x'00ff', {n} / 3.0, CASE {n} % 2 WHEN 0 THEN {n} ELSE 'any' END);
             INSERT OR REPLACE INTO keyed VALUES ('key {m}', {n});
             INSERT INTO \"odd \"\"name\" DEFAULT VALUES;
             INSERT INTO documents VALUES ({n} * 3, 'document number {n} about badgers');
             INSERT INTO own VALUES ('own {n} text'); DELETE FROM own WHERE rowid = {n} - 2;
             INSERT INTO contentless (rowid, body) VALUES ({n} * 5, 'nothing but {n}');
             INSERT INTO older VALUES ('older {n} text');
             INSERT INTO areas VALUES ({n}, {n}, {n} + 1, -{n}, 0);",
            m = n % 7 + 1,
        )
    })
}

/// Returns the content that only queries of the virtual tables show.
fn hits(path: &Path) -> Vec<(i64, String)> {
    let file = Connection::open(path).unwrap();
    let mut hits = Vec::new();
    for query in [
        "SELECT rowid, body FROM own WHERE own MATCH 'text AND 60' ORDER BY rank",
        "SELECT rowid, highlight(external, 0, '<', '>') FROM external WHERE external MATCH 'badgers AND 17'",
        "SELECT rowid, '' FROM contentless WHERE contentless MATCH '33'",
        "SELECT rowid, body FROM older WHERE older MATCH '21'",
        "SELECT id, '' FROM areas WHERE x0 > 20 AND x1 < 23 ORDER BY id",
        "SELECT seq, name FROM sqlite_sequence",
    ] {
        let mut statement = file.prepare(query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let before = hits.len();
        hits.extend(rows.unwrap().map(Result::unwrap));
        assert!(hits.len() > before, "nothing was found by {query}");
    }
    file.execute_batch("INSERT INTO external (external) VALUES ('integrity-check')")
        .unwrap();
    hits
}

#[tokio::test]
async fn a_rebuilt_read_model_equals_a_live_one_whatever_is_in_it() {
    let store = store_of(60).await;
    let path = store.read_model("zoo");
    project(&store, zoo()).await;
    let (live, found) = (picture(&path), hits(&path));
    assert!(live.rows.len() > 25, "{:?}", live.rows.keys());
    // Rows of somebody else make a difference that the picture shows, and a rebuild takes away.
    Connection::open(&path)
        .unwrap()
        .execute_batch("DELETE FROM documents WHERE id = 9; INSERT INTO counted (n) VALUES (7)")
        .unwrap();
    assert_ne!(picture(&path), live);
    for _ in 0..2 {
        rebuild(&store, zoo()).await;
        assert_eq!(picture(&path), live);
        assert_eq!(hits(&path), found);
    }
    // It goes on from there, as the one that was never rebuilt.
    let other = store_of(60).await;
    project(&other, zoo()).await;
    for store in [&store, &other] {
        add(store, 3, 5).await;
        project(store, zoo()).await;
    }
    assert_eq!(picture(&path), picture(&other.read_model("zoo")));
}

#[tokio::test]
async fn a_rebuild_may_change_the_kind_of_an_object() {
    let store = store_of(20).await;
    let old = "CREATE TABLE IF NOT EXISTS thing (n INTEGER); CREATE INDEX IF NOT EXISTS name ON thing (n);
               CREATE VIEW IF NOT EXISTS report AS SELECT n FROM thing";
    let insert = |n| format!("INSERT INTO thing VALUES ({n})");
    project(&store, Scripted::new(old, insert)).await;
    let new = "CREATE TABLE IF NOT EXISTS base (n INTEGER, m INTEGER); CREATE INDEX IF NOT EXISTS name ON base (m);
               CREATE VIEW IF NOT EXISTS thing AS SELECT n + m AS n FROM base;
               CREATE TABLE IF NOT EXISTS report (n INTEGER)";
    let insert = |n| format!("INSERT INTO base VALUES ({n}, 100)");
    rebuild(&store, Scripted::new(new, insert)).await;
    let path = store.read_model("zoo");
    let sum = |sql: &str| {
        let file = Connection::open(&path).unwrap();
        file.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!(sum("SELECT sum(n) FROM thing"), 210 + 2000);
    assert_eq!(
        sum("SELECT count(*) FROM sqlite_schema WHERE name IN ('thing', 'base', 'name', 'report')"),
        4
    );
}

/// All events, and the store's own tables.
async fn whole(store: &SqliteEventStore, path: &Path) -> (usize, scripted::Picture) {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 10_000,
    };
    let page = store.read_feed(request).await.unwrap();
    (page.events.len(), picture(path))
}

fn path_of(store: &SqliteEventStore) -> PathBuf {
    let live = store.read_model("zoo").display().to_string();
    live.strip_suffix(".zoo.db").unwrap().into()
}

#[tokio::test]
async fn names_of_the_stores_tables_are_free_for_read_models() {
    const NAMES: [&str; 9] = [
        "events",
        "STREAMS",
        "Event_Types",
        "idempotency",
        "sequencer",
        "projections",
        "dead_letters",
        "events_by_type",
        "commits",
    ];
    let store = store_of(30).await;
    let file = path_of(&store);
    let before = whole(&store, &file).await;
    let create = |name| format!("CREATE TABLE IF NOT EXISTS {name} (n INTEGER PRIMARY KEY);");
    let prepare = NAMES.map(create).concat();
    let own = |n: u64| {
        NAMES
            .map(|name| format!("INSERT INTO {name} VALUES ({n});"))
            .concat()
    };
    project(&store, Scripted::new(&prepare, own)).await;
    let path = store.read_model("zoo");
    let live = picture(&path);
    for name in NAMES {
        assert_eq!(live.rows[name].len(), 30, "{name}");
    }
    assert_eq!(whole(&store, &file).await, before);
    rebuild(&store, Scripted::new(&prepare, own)).await;
    assert_eq!(picture(&path), live);
    assert_eq!(whole(&store, &file).await, before);
    assert_eq!(add(&store, 1, 1).await.get(), 31);
}

#[tokio::test]
async fn what_leaves_the_read_model_is_refused_by_name_and_changes_nothing() {
    const GOOD: &str = "CREATE TABLE IF NOT EXISTS good (n INTEGER)";
    let store = store_of(30).await;
    let file = path_of(&store);
    let insert = |n: u64| format!("INSERT INTO good VALUES ({n})");
    project(&store, Scripted::new(GOOD, insert)).await;
    let path = store.read_model("zoo");
    let live = picture(&path);
    let before = whole(&store, &file).await;
    let attach = format!("ATTACH '{}' AS store", file.display());
    let cases = [
        (attach.as_str(), "store.db"),
        ("ATTACH ':memory:' AS other", ":memory:"),
        ("DETACH main", "main"),
        ("COMMIT", "transaction"),
        ("END; BEGIN", "transaction"),
        ("ROLLBACK", "transaction"),
        ("CREATE TEMP TABLE scratch (n)", "scratch"),
        ("CREATE TABLE temp.scratch (n)", "scratch"),
        ("CREATE TEMP VIEW peek AS SELECT * FROM good", "peek"),
        ("CREATE TEMP TRIGGER t AFTER INSERT ON good BEGIN SELECT 1; END", "t"),
        ("CREATE VIRTUAL TABLE temp.scratch USING fts5 (a)", "scratch"),
        ("CREATE TABLE eventcore_x (n)", "eventcore_x"),
        ("CREATE TABLE IF NOT EXISTS eventcore_Projections (n)", "eventcore_Projections"),
        ("CREATE VIEW EventCore_v AS SELECT 1", "EventCore_v"),
        ("CREATE VIRTUAL TABLE eventcore_v USING fts5 (a)", "eventcore_v"),
        ("CREATE INDEX mine ON eventcore_projections (position)", "eventcore_projections"),
        ("CREATE TRIGGER mine AFTER UPDATE ON eventcore_projections BEGIN SELECT 1; END", "eventcore_projections"),
        ("UPDATE EVENTCORE_PROJECTIONS SET position = 0", "eventcore_projections"),
        ("DELETE FROM eventcore_dead_letters", "eventcore_dead_letters"),
        ("DROP TABLE eventcore_dead_letters", "eventcore_dead_letters"),
        ("ALTER TABLE eventcore_projections RENAME TO mine", "eventcore_projections"),
        ("SELECT fence FROM eventcore_projections", "eventcore_projections"),
        (
            "CREATE TABLE IF NOT EXISTS w (n); CREATE TRIGGER IF NOT EXISTS w1 AFTER INSERT ON w BEGIN
             UPDATE eventcore_projections SET position = 0; END; INSERT INTO w VALUES (1)",
            "eventcore_projections",
        ),
        ("PRAGMA writable_schema = 1", "writable_schema"),
        ("PRAGMA journal_mode = DELETE", "journal_mode"),
        ("PRAGMA SYNCHRONOUS = OFF", "SYNCHRONOUS"),
        ("PRAGMA application_id = 7", "application_id"),
        ("PRAGMA foreign_keys = OFF", "foreign_keys"),
    ];
    for (sql, object) in cases {
        for is_deaf in [false, true] {
            let quiet = |mut projection: Scripted| {
                projection.is_deaf = is_deaf;
                projection
            };
            let check = |error: &ProjectionError| {
                let text = error.to_string();
                assert!(
                    matches!(error, ProjectionError::Forbidden { .. }),
                    "{sql}: {text}"
                );
                let named = text
                    .to_lowercase()
                    .contains(&format!("{}`", object.to_lowercase()));
                assert!(named || text.contains(object), "{sql}: {text}");
            };
            // In `prepare`, in a rebuild and live.
            let prepares = quiet(Scripted::new(&format!("{GOOD}; {sql}"), insert));
            let calls = prepares.calls.clone();
            check(&rebuild_fails(&store, prepares.clone()).await);
            check(&fails(&store, prepares).await);
            assert_eq!(
                calls.load(Ordering::Relaxed),
                0,
                "{sql}: an event was applied"
            );
            // In `apply` of a rebuild: at most one batch is applied, and none is committed.
            let text = sql.to_owned();
            let applies = quiet(Scripted::new(GOOD, move |n| {
                if n == 2 {
                    text.clone()
                } else {
                    format!("INSERT INTO good VALUES ({n})")
                }
            }));
            check(&rebuild_fails(&store, applies).await);
            assert_eq!(picture(&path), live, "{sql}");
            let record = store.live("zoo").record().await.unwrap().unwrap();
            assert_eq!((record.position.get(), record.parked), (30, 0), "{sql}");
        }
    }
    assert_eq!(whole(&store, &file).await, before);
    // In `apply` of the live one.
    let end = add(&store, 1, 1).await;
    let error = fails(&store, Scripted::new(GOOD, move |_| "ROLLBACK".to_owned())).await;
    assert!(
        matches!(error, ProjectionError::Forbidden { .. }),
        "{error}"
    );
    assert_eq!(picture(&path), live);
    project(&store, Scripted::new(GOOD, insert)).await;
    let record = store.live("zoo").record().await.unwrap().unwrap();
    assert_eq!(record.position, end);
}

#[tokio::test]
async fn a_projection_may_use_what_stays_in_its_file() {
    let store = store_of(5).await;
    let prepare = "CREATE TABLE IF NOT EXISTS t (a INTEGER, b TEXT); PRAGMA user_version = 3; PRAGMA defer_foreign_keys = 1;
        SAVEPOINT s; INSERT INTO t VALUES (1, 'x'); ROLLBACK TO s; RELEASE s; ANALYZE; PRAGMA optimize;
        PRAGMA table_info(t); PRAGMA foreign_key_check; SELECT * FROM pragma_table_list;
        CREATE TABLE IF NOT EXISTS made AS SELECT 1 AS one; ALTER TABLE made RENAME TO other; ALTER TABLE other RENAME COLUMN one TO two;
        ALTER TABLE other ADD COLUMN three; ALTER TABLE other DROP COLUMN two; DROP TABLE other; REINDEX;
        CREATE VIRTUAL TABLE IF NOT EXISTS f USING fts5 (a); DROP TABLE f; WITH RECURSIVE r (n) AS (SELECT 1 UNION SELECT n + 1 FROM r WHERE n < 3) INSERT INTO t SELECT n, '' FROM r";
    let scripted = Scripted::new(prepare, |n| format!("INSERT INTO t VALUES ({n}, 'y')"));
    project(&store, scripted.clone()).await;
    rebuild(&store, scripted).await;
    let path = store.read_model("zoo");
    assert_eq!(picture(&path).rows["t"].len(), 3 + 5);
    let version: i64 = Connection::open(path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
}

#[tokio::test]
async fn a_table_that_prepare_does_not_make_is_not_in_a_rebuild() {
    let store = store_of(30).await;
    let insert = |n| format!("INSERT INTO migrated VALUES ({n})");
    let make = "CREATE TABLE IF NOT EXISTS migrated (n INTEGER)";
    project(&store, Scripted::new(make, insert)).await;
    let path = store.read_model("zoo");
    let live = picture(&path);
    let forgets = Scripted::new("", insert);
    let calls = forgets.calls.clone();
    let runner = runner(&store, forgets);
    let error = runner.start_rebuild().join().await.unwrap_err();
    assert!(
        matches!(&error, ProjectionError::Event { source, .. } if source.to_string().contains("no such table: migrated")),
        "{error}"
    );
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(picture(&path), live);
}

#[tokio::test]
async fn the_rebuild_of_one_read_model_leaves_others_alone() {
    let store = store_of(30).await;
    let make = "CREATE TABLE IF NOT EXISTS parents (id INTEGER PRIMARY KEY);
        CREATE TABLE IF NOT EXISTS children (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parents ON DELETE CASCADE)";
    let insert =
        |n| format!("INSERT INTO parents VALUES ({n}); INSERT INTO children VALUES ({n}, {n})");
    project(&store, Scripted::new(make, insert)).await;
    // Another projection writes tables of the same names.
    let sums = ProjectionRunner::new(store.clone(), projection::Sums::default());
    let running = sums.start();
    running.wait_for(Position::new(30), SOON).await.unwrap();
    running.stop().await.unwrap();
    let other = picture(&store.read_model("sums"));
    let live = picture(&store.read_model("zoo"));
    rebuild(&store, Scripted::new(make, insert)).await;
    assert_eq!(picture(&store.read_model("zoo")), live);
    assert_eq!(picture(&store.read_model("sums")), other);
}

#[tokio::test]
async fn commands_do_not_wait_for_a_transaction_of_a_projection() {
    let store = store_of(1).await;
    let live = store.live("zoo");
    let Leadership::Taken(lease) = live.lead("me", SOON).await.unwrap() else {
        panic!("nobody led yet")
    };
    let mut tx = live.begin(&lease).await.unwrap();
    tx.execute_batch("CREATE TABLE t (n)").unwrap();
    // The transaction is open and holds the lock of its file.
    for tally in 0..20 {
        add(&store, tally, 1).await;
    }
    assert_eq!(status(&store, &store, "zoo").await.unwrap().lag, 21);
    assert_eq!(
        store.live("zoo").record().await.unwrap().unwrap().position,
        Position::START
    );
    drop(tx);
}

#[tokio::test]
async fn a_name_that_nobody_ran_makes_no_file() {
    let store = store_of(1).await;
    for name in ["nobody", "../up", "Zoo", "\0", &"x".repeat(400)] {
        if name.len() < 400 {
            assert!(
                store.live(name).record().await.unwrap().is_none(),
                "{name:?}"
            );
            assert_eq!(
                eventcore::projection::replay(&store, name, None)
                    .await
                    .unwrap(),
                0
            );
        }
        assert!(!store.read_model(name).exists());
    }
    let folder = path_of(&store).parent().unwrap().to_owned();
    assert!(fs::read_dir(folder).unwrap().all(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with("store.db")
    }));
    assert_eq!(
        status(&store, &store, "nobody").await.unwrap().state,
        ProjectionState::Stopped
    );
}

/// On a file system that does not tell upper case from lower case, two names are one file. A link does the same here.
#[cfg(unix)]
#[tokio::test]
async fn a_file_of_another_projection_is_refused() {
    let store = store_of(3).await;
    let make = "CREATE TABLE IF NOT EXISTS t (n)";
    let insert = |n| format!("INSERT INTO t VALUES ({n})");
    project(&store, Scripted::new(make, insert)).await;
    std::os::unix::fs::symlink(store.read_model("zoo"), store.read_model("Zoo")).unwrap();
    let before = picture(&store.read_model("zoo"));
    let refused = store.live("Zoo").lead("me", SOON).await.unwrap_err();
    assert!(
        matches!(&refused, EventStoreError::NotAnEventStore { reason, .. } if reason.contains("`zoo`, not of `Zoo`")),
        "{refused}"
    );
    assert!(store.rebuild("zoo", true).await.is_ok());
    assert!(store.live("Zoo").record().await.is_err());
    assert_eq!(picture(&store.read_model("zoo")), before);
    // A file of somebody else is left as it is.
    let foreign = store.read_model("foreign");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE mine (n)")
        .unwrap();
    let bytes = fs::read(&foreign).unwrap();
    let refused = store.live("foreign").lead("me", SOON).await;
    assert!(
        matches!(refused, Err(EventStoreError::NotAnEventStore { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&foreign).unwrap(), bytes);
    // And no read model is a store.
    let refused = SqliteEventStore::open(store.read_model("zoo")).await;
    assert!(
        matches!(refused, Err(EventStoreError::NotAnEventStore { .. })),
        "{refused:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn files_are_made_for_every_path_and_with_the_mode_of_the_store() {
    use std::{
        ffi::OsStr,
        os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    };
    let make = "CREATE TABLE IF NOT EXISTS t (n)";
    let insert = |n| format!("INSERT INTO t VALUES ({n})");
    let names: [&[u8]; 6] = [
        b"caf\xe9 \xff.db",
        b"a b ?mode=memory#x.db",
        b"file:x.db",
        b"100%25 'quoted' \"twice\".db",
        "日本.db".as_bytes(),
        b"no-suffix",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join(OsStr::from_bytes(b"d\xe9 ir"));
        fs::create_dir(&inner).unwrap();
        let path = inner.join(OsStr::from_bytes(name));
        let mode = [0o600, 0o640, 0o664][number % 3];
        fs::File::create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        // Opened by a link to it, from another folder.
        let link = folder.path().join("link.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let store = SqliteEventStore::open(&link).await.unwrap();
        add(&store, 1, 9).await;
        project(&store, Scripted::new(make, insert)).await;
        rebuild(&store, Scripted::new(make, insert)).await;
        let direct = SqliteEventStore::open(&path).await.unwrap();
        assert_eq!(store.read_model("zoo"), direct.read_model("zoo"));
        assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 9);
        let _open = Connection::open(store.read_model("zoo")).unwrap();
        let mut found = Vec::new();
        for entry in fs::read_dir(&inner).unwrap().map(Result::unwrap) {
            let permissions = entry.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(permissions, mode, "{:?}", entry.path());
            found.push(entry.file_name());
        }
        let suffix = |end: &str| {
            let mut name = OsStr::from_bytes(name).to_owned();
            name.push(end);
            name
        };
        for end in ["", ".zoo.db", ".zoo.rebuild"] {
            assert!(found.contains(&suffix(end)), "{end}: {found:?}");
        }
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "the link has no files"
        );
    }
}

#[tokio::test]
async fn a_store_restored_from_a_backup_says_rebuild_and_is_rebuilt() {
    let store = store_of(10).await;
    let make = "CREATE TABLE IF NOT EXISTS t (n)";
    let insert = |n| format!("INSERT INTO t VALUES ({n})");
    let (file, backup) = (path_of(&store), path_of(&store).with_extension("backup"));
    store.close().await;
    fs::copy(&file, &backup).unwrap();
    let store = SqliteEventStore::open(&file).await.unwrap();
    add(&store, 1, 10).await;
    project(&store, Scripted::new(make, insert)).await;
    store.close().await;
    fs::copy(&backup, &file).unwrap();
    let store = SqliteEventStore::open(&file).await.unwrap();
    let error = fails(&store, Scripted::new(make, insert)).await;
    assert!(
        matches!(
            error,
            ProjectionError::Subscription(SubscriptionError::LogTooShort { .. })
        ),
        "{error}"
    );
    assert!(error.to_string().contains("rebuild"), "{error}");
    rebuild(&store, Scripted::new(make, insert)).await;
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 10);
    add(&store, 1, 3).await;
    project(&store, Scripted::new(make, insert)).await;
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 13);
}

async fn taken(model: &impl ReadModel) -> eventcore::projection::Lease {
    match model.seize("test", SOON).await.unwrap() {
        Leadership::Taken(lease) => lease,
        held @ Leadership::Held { .. } => panic!("{held:?}"),
    }
}

/// Writes one row and moves the checkpoint.
async fn write<M>(
    model: &M,
    lease: &mut eventcore::projection::Lease,
    to: u64,
) -> Result<(), LeaseError>
where
    M: ReadModel<Transaction = eventcore::sqlite::SqliteTransaction>,
{
    let mut tx = model.begin(lease).await?;
    tx.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS t (n); INSERT INTO t VALUES ({to})"
    ))
    .unwrap();
    let progress = eventcore::projection::Progress {
        position: Position::new(to),
        term: SOON,
        park: None,
        replayed: None,
    };
    model.commit(tx, lease, progress).await?;
    lease.position = Position::new(to);
    Ok(())
}

const ANY: Position = Position::new(u64::MAX);

#[tokio::test]
async fn leaders_of_old_and_other_rebuilds_are_refused() {
    let store = store_of(1).await;
    let live = store.live("zoo");
    let mut old = taken(&live).await;
    write(&live, &mut old, 5).await.unwrap();
    let first = store.rebuild("zoo", true).await.unwrap();
    let mut stalled = taken(&first).await;
    write(&first, &mut stalled, 9).await.unwrap();

    // A second one begins afresh: the first is refused, whatever it does.
    let second = store.rebuild("zoo", true).await.unwrap();
    assert!(matches!(
        write(&first, &mut stalled, 10).await,
        Err(LeaseError::Lost)
    ));
    assert!(matches!(
        first.renew(&stalled, SOON).await,
        Err(LeaseError::Lost)
    ));
    assert!(matches!(
        live.swap(&first, &stalled, ANY).await,
        Err(LeaseError::Lost)
    ));
    let superseded = first.lead("test", SOON).await.unwrap_err();
    assert!(
        superseded.to_string().contains("another rebuild"),
        "{superseded}"
    );
    let mut lease = taken(&second).await;
    assert_eq!(lease.position, Position::START);

    // The live one is ahead: nothing is swapped, and its leader goes on.
    write(&second, &mut lease, 4).await.unwrap();
    assert!(!live.swap(&second, &lease, ANY).await.unwrap());
    write(&live, &mut old, 6).await.unwrap();
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 2);
    let mut lease = taken(&second).await;
    write(&second, &mut lease, 6).await.unwrap();
    assert!(live.swap(&second, &lease, ANY).await.unwrap());

    // The leader of old is refused, and the positions do not go back.
    assert!(matches!(
        write(&live, &mut old, 7).await,
        Err(LeaseError::Lost)
    ));
    assert_eq!(live.record().await.unwrap().unwrap().position.get(), 6);
    let mut new = taken(&live).await;
    assert!(new.fence > old.fence && new.fence > lease.fence);
    write(&live, &mut new, 7).await.unwrap();
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 3);
    // The one that was swapped in has ended as well.
    assert!(second.lead("test", SOON).await.is_err());
    assert!(matches!(
        live.swap(&second, &lease, ANY).await,
        Err(LeaseError::Lost)
    ));
    assert_eq!(live.record().await.unwrap().unwrap().position.get(), 7);
}

/// As after a crash between the swap and the cleaning of the rebuild's file.
#[tokio::test]
async fn what_was_swapped_in_is_not_resumed() {
    let store = store_of(12).await;
    let make = "CREATE TABLE IF NOT EXISTS t (n)";
    let insert = |n| format!("INSERT INTO t VALUES ({n})");
    rebuild(&store, Scripted::new(make, insert)).await;
    let path = store.read_model("zoo");
    let live = picture(&path);
    let file = path_of(&store);
    store.close().await;
    fs::copy(&path, path.with_extension("rebuild")).unwrap();
    let store = SqliteEventStore::open(file).await.unwrap();
    let again = Scripted::new(make, insert);
    let outcome = runner(&store, again.clone()).resume_rebuild().join().await;
    assert_eq!(outcome.unwrap(), RebuildOutcome::Swapped);
    assert_eq!(
        again.calls.load(Ordering::Relaxed),
        12,
        "it began at the first event"
    );
    assert_eq!(picture(&path), live);
}

/// A leader of old meets the tables of the new version: that is no fault of its events.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_leader_that_lost_its_tables_stands_by_and_parks_nothing() {
    let store = store_of(10).await;
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    let left = std::sync::Mutex::new(left);
    let old = Scripted::new("CREATE TABLE IF NOT EXISTS t (old INTEGER)", move |n| {
        if n == 11 {
            enter.send(()).unwrap();
            // Before its first statement, so that it holds no lock.
            left.lock().unwrap().recv().unwrap();
        }
        format!("INSERT INTO t (old) VALUES ({n})")
    });
    let old = runner(&store, old).instance("old").start();
    old.wait_for(Position::new(10), SOON).await.unwrap();
    add(&store, 1, 1).await;
    tokio::task::spawn_blocking(move || entered.recv().unwrap())
        .await
        .unwrap();
    let new = Scripted::new("CREATE TABLE IF NOT EXISTS t (new INTEGER)", |n| {
        format!("INSERT INTO t (new) VALUES ({n})")
    });
    rebuild(&store, new.clone()).await;
    let new = runner(&store, new).instance("new").start();
    new.wait_for(Position::new(11), SOON).await.unwrap();
    while store
        .live("zoo")
        .record()
        .await
        .unwrap()
        .unwrap()
        .leader
        .as_deref()
        != Some("new")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    leave.send(()).unwrap();
    let standby = ProjectionState::Standby {
        leader: "new".to_owned(),
    };
    while old.status().await.unwrap().state != standby {
        assert!(!old.is_finished(), "{:?}", old.stop().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(old.status().await.unwrap().parked, 0);
    old.stop().await.unwrap();
    new.stop().await.unwrap();
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 11);
}

/// A statement that rolls back by itself is a failure of its event, and nothing is written without the transaction.
#[tokio::test]
async fn a_conflict_that_rolls_back_the_transaction_is_a_failure_of_its_event() {
    let store = store_of(10).await;
    let make = "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY);
                CREATE TRIGGER IF NOT EXISTS never AFTER INSERT ON t WHEN NEW.n = 7 BEGIN SELECT RAISE(ROLLBACK, 'seven'); END";
    let insert = |n: u64| match n {
        5 => "INSERT OR ROLLBACK INTO t VALUES (4)".to_owned(),
        _ => format!("INSERT INTO t VALUES ({n})"),
    };
    let parks = ProjectionRunner::new(store.clone(), Scripted::new(make, insert));
    let running = parks.on_error(ErrorPolicy::park()).start();
    running.wait_for(Position::new(10), SOON).await.unwrap();
    running.stop().await.unwrap();
    let letters = dead_letters(&store, "zoo", Position::START).await.unwrap();
    let parked: Vec<_> = letters.iter().map(|letter| letter.position.get()).collect();
    assert_eq!(parked, [5, 7]);
    assert_eq!(picture(&store.read_model("zoo")).rows["t"].len(), 8);
    // One that ignores the error ends, before anything is written outside of the transaction.
    let live = picture(&store.read_model("zoo"));
    add(&store, 1, 1).await;
    let mut deaf = Scripted::new(make, |_| "INSERT OR ROLLBACK INTO t VALUES (4)".to_owned());
    deaf.is_deaf = true;
    let error = fails(&store, deaf).await;
    assert!(format!("{error:?}").contains("rolled back"), "{error}");
    assert_eq!(picture(&store.read_model("zoo")), live);
}

/// A column of a random table, with a value for each event.
#[derive(Debug, Clone)]
struct Table {
    columns: Vec<usize>,
    kind: usize,
    index: usize,
    parent: bool,
}

const COLUMNS: [(&str, &str); 7] = [
    ("INTEGER", "{n} * 3"),
    ("TEXT COLLATE NOCASE", "'text ' || {n}"),
    ("BLOB", "zeroblob({n} % 50)"),
    ("REAL", "{n} / 7.0"),
    ("INTEGER DEFAULT 9", "NULL"),
    (
        "TEXT CHECK (length({c}) < 9000)",
        "hex(zeroblob({n} % 3 * 2000))",
    ),
    (
        "ANY",
        "CASE {n} % 3 WHEN 0 THEN {n} WHEN 1 THEN 'x' ELSE x'01' END",
    ),
];

impl Table {
    fn create(&self, number: usize) -> String {
        let types = self.columns.iter().enumerate();
        let mut columns: Vec<_> = types
            .map(|(c, kind)| {
                let kind = COLUMNS[*kind].0.replace("{c}", &format!("c{c}"));
                // Columns of a strict table have one of its types.
                format!("c{c} {kind}")
            })
            .collect();
        if self.parent && number > 0 {
            columns.push(format!(
                "up INTEGER REFERENCES t{} (id) ON DELETE CASCADE",
                number - 1
            ));
        }
        let columns = columns.join(", ");
        let (key, options) = match self.kind {
            0 => ("id INTEGER PRIMARY KEY", ""),
            1 => ("id INTEGER PRIMARY KEY AUTOINCREMENT", ""),
            2 => ("id INTEGER PRIMARY KEY", "WITHOUT ROWID"),
            _ => ("id INTEGER PRIMARY KEY", "STRICT"),
        };
        let table = format!("CREATE TABLE IF NOT EXISTS t{number} ({key}, {columns}) {options};");
        let index = match self.index {
            0 => String::new(),
            1 => format!("CREATE INDEX IF NOT EXISTS i{number} ON t{number} (c0, id DESC);"),
            2 => format!(
                "CREATE UNIQUE INDEX IF NOT EXISTS i{number} ON t{number} (id + 1) WHERE id > 3;"
            ),
            3 => format!(
                "CREATE VIEW IF NOT EXISTS v{number} AS SELECT c0, count(*) AS n FROM t{number} GROUP BY c0;"
            ),
            _ => format!(
                "CREATE VIRTUAL TABLE IF NOT EXISTS f{number} USING fts5 (words);
                 CREATE TRIGGER IF NOT EXISTS r{number} AFTER INSERT ON t{number} BEGIN
                 INSERT INTO f{number} VALUES ('row ' || NEW.id); END;"
            ),
        };
        table + &index
    }

    fn insert(&self, number: usize, n: u64) -> String {
        let columns = self.columns.iter();
        let mut values: Vec<_> = columns
            .map(|kind| COLUMNS[*kind].1.replace("{n}", &n.to_string()))
            .collect();
        if self.parent && number > 0 {
            values.push(n.to_string());
        }
        let delete = if n.is_multiple_of(5) {
            format!("DELETE FROM t{number} WHERE id = {n} - 4;")
        } else {
            String::new()
        };
        format!(
            "INSERT INTO t{number} VALUES ({n}, {}); {delete}",
            values.join(", ")
        )
    }
}

fn tables() -> impl Strategy<Value = Vec<Table>> {
    let table = (
        prop::collection::vec(0..COLUMNS.len(), 1..5),
        0..4_usize,
        0..5_usize,
        any::<bool>(),
    );
    let table = table.prop_map(|(columns, kind, index, parent)| {
        // A strict table has no collations or checks of other types than its own.
        Table {
            columns,
            kind,
            index,
            parent,
        }
    });
    prop::collection::vec(table, 1..6)
}

#[test]
fn random_read_models_are_rebuilt_as_they_were_made_live() {
    let cases = if std::env::var_os("EVENTCORE_TEST_LONG").is_some() {
        200
    } else {
        24
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut random = TestRunner::new(Config::with_cases(cases));
    let run = random.run(&(tables(), tables(), 1..60_u64), |(old, new, events)| {
        let script = |tables: Vec<Table>| {
            let prepare: String = tables
                .iter()
                .enumerate()
                .map(|(i, t)| t.create(i))
                .collect();
            let tables = Arc::new(tables);
            Scripted::new(&prepare, move |n| {
                let each = tables.iter().enumerate();
                each.map(|(i, t)| t.insert(i, n)).collect()
            })
        };
        runtime.block_on(async {
            let store = store_of(events).await;
            // The model of the old version is replaced by that of the new one, which a second store has from the start.
            project(&store, script(old)).await;
            rebuild(&store, script(new.clone())).await;
            let other = store_of(events).await;
            project(&other, script(new.clone())).await;
            let (rebuilt, live) = (store.read_model("zoo"), other.read_model("zoo"));
            prop_assert_eq!(picture(&rebuilt), picture(&live));
            for store in [&store, &other] {
                add(store, 1, 3).await;
                project(store, script(new.clone())).await;
            }
            prop_assert_eq!(picture(&rebuilt), picture(&live));
            prop_assert_eq!(head(&store).await, head(&other).await);
            for store in [store, other] {
                let folder = path_of(&store).parent().unwrap().to_owned();
                store.close().await;
                fs::remove_dir_all(folder).unwrap();
            }
            Ok(())
        })
    });
    run.unwrap();
}
