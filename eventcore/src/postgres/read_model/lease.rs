//! The row of a projection in the table `projections`: its lease, its checkpoint and its last error.

use std::time::Duration;

use tokio_postgres::Row;

use crate::postgres::{
    convert::{big, number},
    error::Failure,
    read_model::{
        open::OpenTransaction,
        target::{Kind, Target},
        transaction::PostgresTransaction,
    },
};
use crate::{
    Position,
    projection::{
        Forbidden, LastError, Leadership, Lease, LeaseError, Progress, ProjectionIdentity,
        ProjectionRecord,
    },
    store::EventStoreError,
};

/// Acquires the lease of a live read model, creating the row if it does not exist.
const LEAD: &str = "
    INSERT INTO eventcore.projections AS p (name, position, fence, leader, leads_until)
    VALUES ($1, 0, 1, $2, clock_timestamp() + $3::bigint * interval '1 millisecond')
    ON CONFLICT (name) DO UPDATE SET fence = p.fence + 1, leader = excluded.leader, leads_until = excluded.leads_until
     WHERE p.leader IS NULL OR p.leads_until < clock_timestamp() OR $4
    RETURNING fence, position";

/// Acquires the lease of a rebuild, whose row no longer exists once the rebuild has ended.
const LEAD_REBUILD: &str = "
    UPDATE eventcore.projections p
       SET fence = p.fence + 1, leader = $2, leads_until = clock_timestamp() + $3::bigint * interval '1 millisecond'
     WHERE name = $1 AND (p.leader IS NULL OR p.leads_until < clock_timestamp() OR $4)
    RETURNING fence, position";

impl Target {
    pub(super) async fn lead(
        &self,
        leader: &str,
        term: Duration,
        seize: bool,
    ) -> Result<Leadership, EventStoreError> {
        if !seize && let Some(leader) = self.record().await?.and_then(|record| record.leader) {
            return Ok(Leadership::Held { leader });
        }
        let sql = match self.kind {
            Kind::Live => LEAD,
            Kind::Rebuild => LEAD_REBUILD,
        };
        let taken = self
            .query(sql, &[&self.key, &leader, &millis(term), &seize])
            .await?;
        if let Some(row) = taken.first() {
            return lease(row).map(Leadership::Taken).map_err(damaged);
        }
        // Another process was faster.
        match self.record().await? {
            None if self.kind == Kind::Rebuild => Err(EventStoreError::Other {
                source: format!(
                    "the rebuild of projection `{}` was completed by another process; start a new one if necessary",
                    self.name
                )
                .into(),
            }),
            record => {
                let leader = record.and_then(|record| record.leader).unwrap_or_default();
                Ok(Leadership::Held { leader })
            }
        }
    }

    pub(super) async fn renew(&self, lease: &Lease, term: Duration) -> Result<(), LeaseError> {
        let sql = "UPDATE eventcore.projections SET leads_until = clock_timestamp() + $1::bigint * interval '1 millisecond'
                    WHERE name = $2 AND fence = $3 RETURNING fence";
        let held = self
            .query(sql, &[&millis(term), &self.key, &big(lease.fence)])
            .await?;
        if held.is_empty() {
            return Err(LeaseError::Lost);
        }
        Ok(())
    }

    pub(super) async fn identify(
        &self,
        lease: &Lease,
        identity: &ProjectionIdentity,
    ) -> Result<(), LeaseError> {
        let sql = "UPDATE eventcore.projections SET feed = $1, type_name = $2 WHERE name = $3 AND fence = $4 RETURNING fence";
        let ProjectionIdentity { feed, type_name } = identity;
        let held = self
            .query(sql, &[feed, type_name, &self.key, &big(lease.fence)])
            .await?;
        if held.is_empty() {
            return Err(LeaseError::Lost);
        }
        Ok(())
    }

    pub(super) async fn resign(&self, lease: &Lease) -> Result<(), EventStoreError> {
        let sql = "UPDATE eventcore.projections SET leader = NULL, leads_until = '-infinity' WHERE name = $1 AND fence = $2";
        self.query(sql, &[&self.key, &big(lease.fence)])
            .await
            .map(drop)
    }

    /// Commits a transaction with its checkpoint. The fence is checked under the lock of the
    /// projection's row, so a former leader cannot commit.
    pub(super) async fn commit(
        &self,
        mut transaction: PostgresTransaction,
        lease: &Lease,
        progress: Progress,
    ) -> Result<(), LeaseError> {
        let made = transaction.made_schema().map(str::to_owned);
        let recorded = match transaction.own().await {
            Ok(open) => self.record_progress(open, lease, &progress, made).await,
            Err(failure) => Err(failure),
        };
        match recorded {
            Ok(true) => transaction.commit().await,
            Ok(false) => Err(lost_or_ended(&mut transaction).await),
            Err(failure) => Err(failure.nothing_written().into()),
        }
    }

    /// Returns `false` if the lease is lost, or if the transaction has already ended.
    async fn record_progress(
        &self,
        open: &mut OpenTransaction,
        lease: &Lease,
        progress: &Progress,
        made: Option<String>,
    ) -> Result<bool, Failure> {
        let sql = "UPDATE eventcore.projections SET position = $1, error = NULL, schema = coalesce($6, schema),
                          leads_until = clock_timestamp() + $2::bigint * interval '1 millisecond'
                    WHERE name = $3 AND fence = $4 AND position = $5
                      AND current_setting('eventcore_batch.state', true) = 'open'";
        let (before, position) = (big(lease.position.get()), big(progress.position.get()));
        let (term, fence) = (millis(progress.term), big(lease.fence));
        let held = open
            .execute(
                &self.sql(sql),
                &[&position, &term, &self.key, &fence, &before, &made],
            )
            .await?;
        if held == 0 {
            return Ok(false);
        }
        if let Some(letter) = &progress.park {
            self.park(open, letter).await?;
        }
        if let Some(position) = progress.replayed {
            self.remove_letter(open, position).await?;
        }
        Ok(true)
    }

    pub(super) async fn record_error(
        &self,
        lease: &Lease,
        error: &LastError,
    ) -> Result<(), EventStoreError> {
        let sql = "UPDATE eventcore.projections SET error = $1, error_position = $2, error_at = $3
                    WHERE name = $4 AND fence = $5";
        let message = error.message.replace('\0', "\u{fffd}");
        let position = error.position.map(|position| big(position.get()));
        self.query(
            sql,
            &[&message, &position, &error.at, &self.key, &big(lease.fence)],
        )
        .await
        .map(drop)
    }

    pub(super) async fn record(&self) -> Result<Option<ProjectionRecord>, EventStoreError> {
        let sql = "SELECT p.position, CASE WHEN p.leads_until >= clock_timestamp() THEN p.leader END,
                          p.error, p.error_position, p.error_at,
                          (SELECT count(*) FROM eventcore.dead_letters d WHERE d.projection = p.name),
                          EXISTS (SELECT FROM eventcore.dead_letters d WHERE d.projection = p.name AND d.to_replay),
                          concat_ws(' ', p.fence, p.leads_until), p.feed, p.type_name
                     FROM eventcore.projections p WHERE p.name = $1";
        let rows = self.query(sql, &[&self.key]).await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        record(row).map(Some).map_err(damaged)
    }
}

/// Distinguishes a lost lease from a projection that has ended the transaction itself.
async fn lost_or_ended(transaction: &mut PostgresTransaction) -> LeaseError {
    const IS_OPEN: &str =
        "SELECT current_setting('eventcore_batch.state', true) IS NOT DISTINCT FROM 'open'";
    let asked = async {
        let rows = transaction.own().await?.query(IS_OPEN, &[]).await?;
        Ok::<bool, Failure>(rows.first().map_or(Ok(true), |row| row.try_get(0))?)
    };
    match asked.await {
        Ok(true) => LeaseError::Lost,
        Ok(false) => LeaseError::Forbidden(Forbidden::transaction_end()),
        Err(failure) => failure.nothing_written().into(),
    }
}

fn lease(row: &Row) -> Result<Lease, tokio_postgres::Error> {
    Ok(Lease {
        fence: number(row, 0)?,
        position: Position::new(number(row, 1)?),
    })
}

fn record(row: &Row) -> Result<ProjectionRecord, tokio_postgres::Error> {
    let position = row.try_get::<_, Option<i64>>(3)?;
    let last_error = match row.try_get(2)? {
        Some(message) => Some(LastError {
            message,
            position: position.map(|position| Position::new(position.unsigned_abs())),
            at: row.try_get(4)?,
        }),
        None => None,
    };
    let identity = match row.try_get(8)? {
        Some(feed) => Some(ProjectionIdentity {
            feed,
            type_name: row.try_get(9)?,
        }),
        None => None,
    };
    Ok(ProjectionRecord {
        position: Position::new(number(row, 0)?),
        identity,
        leader: row.try_get(1)?,
        last_error,
        parked: number(row, 5)?,
        to_replay: row.try_get(6)?,
        lease_state: row.try_get(7)?,
    })
}

/// Converts the error of a row that does not match the schema.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn damaged(error: tokio_postgres::Error) -> EventStoreError {
    EventStoreError::unreadable(&error)
}

/// The longest term, a century: the server's timestamps are limited, too.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

fn millis(term: Duration) -> i64 {
    i64::try_from(term.min(LONGEST).as_millis()).unwrap_or(i64::MAX)
}
