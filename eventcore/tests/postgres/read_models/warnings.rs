//! A swap logs the names of what it does not keep.

use std::{
    fmt::{Debug, Write as _},
    sync::{Arc, Mutex},
};

use eventcore::projection::RebuildOutcome;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::{database::Database, script::Script};

/// Keeps the warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

// The subscriber is that of this thread, on which all tasks run.
#[tokio::test]
async fn what_others_have_added_to_the_live_read_model_is_named_when_it_is_lost() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    // While there is only one subscriber, the thread that first comes to a message decides whether it is ever logged, and
    // the threads of the other tests have no subscriber.
    let _second = tracing::Dispatch::new(warnings.clone());
    let database = Database::with_events(3).await;
    let totals = Script::new(
        "CREATE TABLE IF NOT EXISTS totals (position bigint PRIMARY KEY)",
        "INSERT INTO totals VALUES (:n)",
    );
    database.project(totals.clone()).await.unwrap();
    assert_eq!(
        database.rebuild(totals.clone()).await.unwrap(),
        RebuildOutcome::Swapped
    );
    let lost = |line: &&String| line.contains("lacks objects that the live one has");
    assert_eq!(
        warnings.0.lock().unwrap().iter().find(lost),
        None,
        "the control"
    );
    database
        .run(
            "CREATE INDEX tuned ON :live.totals (position DESC);
             CREATE VIEW :live.report AS SELECT count(*) FROM :live.totals;
             CREATE FUNCTION :live.stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER stopped BEFORE INSERT ON :live.totals FOR EACH ROW EXECUTE FUNCTION :live.stop();
             ALTER TABLE :live.totals ADD CONSTRAINT positive CHECK (position > 0);
             COMMENT ON TABLE :live.totals IS 'what happened'",
        )
        .await;
    assert_eq!(
        database.rebuild(totals).await.unwrap(),
        RebuildOutcome::Swapped
    );
    let warnings = warnings.0.lock().unwrap();
    let named = warnings.iter().find(lost).unwrap();
    for object in [
        "index tuned",
        "view report",
        "routine stop",
        "trigger stopped of totals",
        "constraint positive of totals",
        "comment of totals",
        &database.live,
    ] {
        assert!(named.contains(object), "{object} is not in {named}");
    }
}
