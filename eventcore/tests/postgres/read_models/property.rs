//! Random read models, rebuilt into other random ones: each equals one that was projected live from the first event.

use eventcore::projection::RebuildOutcome;

use super::{database::Database, objects::similar_asserts, script::Script};
use crate::projection::add;

/// Names are few, so that those of one read model mean something else in the next.
const NAMES: [&str; 10] = [
    "events",
    "streams",
    "projections",
    "accounts",
    "totals",
    "\"Odd name\"",
    "by_one",
    "parts",
    "log",
    "state",
];

/// Builds a read model object by object; each may refer to the tables before it.
struct Builder {
    random: fastrand::Rng,
    names: Vec<&'static str>,
    tables: Vec<&'static str>,
    views: Vec<&'static str>,
    prepare: Vec<String>,
    apply: Vec<String>,
}

impl Builder {
    fn script(seed: u64) -> Script {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut names = NAMES.to_vec();
        random.shuffle(&mut names);
        let mut builder = Self {
            random,
            names,
            tables: Vec::new(),
            views: Vec::new(),
            prepare: Vec::new(),
            apply: Vec::new(),
        };
        builder.table();
        while !builder.names.is_empty() {
            match builder.random.u8(0..14) {
                0..4 => builder.table(),
                4 => builder.partitioned(),
                5 | 6 => builder.view(),
                7 => builder.materialized(),
                8 => builder.sequence(),
                9 => builder.kind(),
                10 => builder.function(),
                11 => builder.index(),
                12 => builder.trigger(),
                _ => builder.policy(),
            }
        }
        // Not all of it is there the second time, when the projection is started again.
        let prepare = builder.prepare.join("; ");
        let prepare = format!(
            "DO $once$ BEGIN IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace)
             THEN {prepare}; END IF; END $once$"
        );
        Script::new(prepare, builder.apply.join("; "))
    }

    fn name(&mut self) -> &'static str {
        self.names.pop().unwrap_or("unnamed")
    }

    fn any_table(&mut self) -> &'static str {
        let index = self.random.usize(..self.tables.len());
        self.tables[index]
    }

    fn table(&mut self) {
        let name = self.name();
        let mut columns = vec!["position bigint PRIMARY KEY".to_owned()];
        let mut named = vec!["position".to_owned()];
        let mut values = vec![":n".to_owned()];
        for column in 0..self.random.usize(1..5) {
            let (of, value) = match self.random.u8(0..7) {
                0 => ("text", "'event :n'"),
                1 => ("numeric(20, 2) NOT NULL DEFAULT 1.5", ":n / 3.0"),
                2 => ("bigint[]", "ARRAY[:n, :n + 1]"),
                3 => ("jsonb", "'{\"position\": :n}'"),
                4 => ("bigint CHECK (position > 0) UNIQUE", ":n * 7"),
                5 => ("boolean DEFAULT true", ":n % 2 = 0"),
                _ => ("bigint GENERATED ALWAYS AS (position * 2) STORED", ""),
            };
            columns.push(format!("c{column} {of}"));
            if !value.is_empty() {
                named.push(format!("c{column}"));
                values.push(value.to_owned());
            }
        }
        if !self.tables.is_empty() && self.random.bool() {
            let other = self.any_table();
            let cascade = ["", "ON DELETE CASCADE", "DEFERRABLE INITIALLY DEFERRED"];
            let cascade = cascade[self.random.usize(..3)];
            columns.push(format!("refers bigint REFERENCES {other} {cascade}"));
            named.push("refers".to_owned());
            values.push(":n".to_owned());
        }
        self.prepare
            .push(format!("CREATE TABLE {name} ({})", columns.join(", ")));
        self.apply.push(format!(
            "INSERT INTO {name} ({}) VALUES ({})",
            named.join(", "),
            values.join(", ")
        ));
        self.tables.push(name);
    }

    fn partitioned(&mut self) {
        let name = self.name();
        let part = format!("part_{}", self.random.u8(0..3));
        self.prepare.push(format!(
            "CREATE TABLE {name} (position bigint, key bigint) PARTITION BY HASH (position);
             CREATE TABLE {part}_{0} PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE {part}_{0}_more PARTITION OF {name} FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
            self.prepare.len()
        ));
        self.apply
            .push(format!("INSERT INTO {name} VALUES (:n, :n)"));
    }

    fn view(&mut self) {
        let name = self.name();
        let of = if !self.views.is_empty() && self.random.bool() {
            self.views[self.random.usize(..self.views.len())]
        } else {
            self.any_table()
        };
        self.prepare.push(format!(
            "CREATE VIEW {name} AS SELECT position, count(*) AS count FROM {of} WHERE position > 1 GROUP BY position"
        ));
        self.views.push(name);
    }

    fn materialized(&mut self) {
        let (name, of) = (self.name(), self.any_table());
        self.prepare.push(format!(
            "CREATE MATERIALIZED VIEW {name} AS SELECT count(*) AS count FROM {of}"
        ));
        self.apply.push(format!("REFRESH MATERIALIZED VIEW {name}"));
    }

    fn sequence(&mut self) {
        let name = self.name();
        let by = self.random.u8(1..9);
        self.prepare
            .push(format!("CREATE SEQUENCE {name} INCREMENT {by}"));
        self.apply.push(format!("SELECT nextval('{name}')"));
    }

    fn kind(&mut self) {
        let name = self.name();
        let number = self.prepare.len();
        self.prepare.push(if self.random.bool() {
            format!("CREATE TYPE {name} AS ENUM ('a', 'b', 'c{number}')")
        } else {
            format!("CREATE DOMAIN {name} AS text CHECK (VALUE <> '{number}')")
        });
        let table = self.any_table();
        self.prepare.push(format!(
            "ALTER TABLE {table} ADD COLUMN of_kind_{number} {name} DEFAULT 'a'"
        ));
    }

    fn function(&mut self) {
        let (name, of) = (self.name(), self.any_table());
        let path = ["", "SET search_path FROM CURRENT"][self.random.usize(..2)];
        self.prepare.push(format!(
            "CREATE FUNCTION {name}(r {of}) RETURNS bigint LANGUAGE plpgsql STABLE {path} AS
                 'BEGIN RETURN (SELECT count(*) + r.position FROM {of}); END'"
        ));
        if !path.is_empty() {
            self.apply.push(format!("SELECT {name}(r) FROM {of} r"));
        }
    }

    fn index(&mut self) {
        // It takes a name that is another's elsewhere.
        let (name, of) = (self.name(), self.any_table());
        let unique = ["", "UNIQUE"][self.random.usize(..2)];
        self.prepare.push(format!(
            "CREATE {unique} INDEX {name} ON {of} (position DESC) WHERE position > 2"
        ));
    }

    fn trigger(&mut self) {
        let (name, of) = (self.name(), self.any_table());
        let number = self.prepare.len();
        self.prepare.push(format!(
            "CREATE TABLE {name} (position bigint);
             CREATE FUNCTION note_{number}() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO {name} VALUES (NEW.position); RETURN NEW; END';
             CREATE TRIGGER note_{number} AFTER INSERT ON {of} FOR EACH ROW EXECUTE FUNCTION note_{number}()"
        ));
    }

    fn policy(&mut self) {
        // Row security would have to be in the next version, too: here it is on tables whose names no other version uses.
        let number = self.prepare.len();
        let name = self.name();
        self.prepare.push(format!(
            "CREATE TABLE secured_{number}_{0} (position bigint);
             ALTER TABLE secured_{number}_{0} ENABLE ROW LEVEL SECURITY;
             CREATE POLICY {name} ON secured_{number}_{0} USING (position > 0)",
            self.random.u32(..)
        ));
    }
}

const EVENTS: u64 = 8;
const CASES: u64 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_random_read_model_is_swapped_into_another_whole() {
    let first = fastrand::u64(..1 << 48);
    let rebuilt = Database::with_events(EVENTS).await;
    rebuilt.project(Builder::script(first)).await.unwrap();
    let store = rebuilt.dump_store().await;
    for seed in first + 1..=first + CASES {
        println!("seed {seed}");
        let live = Database::with_events(EVENTS).await;
        live.project(Builder::script(seed)).await.unwrap();
        let expected = live.dump().await;
        // From another version, and from itself.
        for _ in 0..2 {
            let outcome = rebuilt.rebuild(Builder::script(seed)).await.unwrap();
            assert_eq!(outcome, RebuildOutcome::Swapped);
            similar_asserts(&rebuilt.dump().await, &expected);
            similar_asserts(&rebuilt.dump_store().await, &store);
        }
    }
    // The last one is followed.
    let last = first + CASES;
    let live = Database::with_events(EVENTS).await;
    live.project(Builder::script(last)).await.unwrap();
    for database in [&live, &rebuilt] {
        add(&database.store, 1, 4).await;
        database.project(Builder::script(last)).await.unwrap();
    }
    similar_asserts(&rebuilt.dump().await, &live.dump().await);
}
