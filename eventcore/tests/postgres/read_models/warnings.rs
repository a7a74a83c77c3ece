//! A swap logs the names of what it does not keep.

use eventcore::projection::RebuildOutcome;

use super::{database::Database, script::Script};
use crate::warnings::Warnings;

// The subscriber is that of this thread, on which all tasks run.
#[tokio::test]
async fn what_others_have_added_to_the_live_read_model_is_named_when_it_is_lost() {
    let (warnings, _guards) = Warnings::listen();
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
