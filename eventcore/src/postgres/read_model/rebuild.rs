//! The start of a rebuild: an empty schema beside the live one.

use std::time::Duration;

use crate::postgres::{
    connection::statement::identifier,
    error::Failure,
    read_model::{check::outside, namespace::Namespace, open::OpenTransaction, target::Target},
};
use crate::{projection::Forbidden, store::EventStoreError};

/// The number of attempts to start a rebuild while another one starts at the same time.
const ATTEMPTS: u32 = 20;

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

impl Target {
    /// Creates this rebuild's schema, unless that of an interrupted rebuild can be resumed; with
    /// `afresh`, always starts with an empty one.
    ///
    /// # Errors
    /// [`EventStoreError::Other`] if this role could not swap it in later.
    pub(super) async fn open(&self, afresh: bool) -> Result<(), EventStoreError> {
        let mut attempts = 0;
        loop {
            let failure = match self.try_open(afresh).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(forbidden)) => {
                    return Err(EventStoreError::Other {
                        source: Box::new(forbidden),
                    });
                }
                Err(failure) => failure,
            };
            attempts += 1;
            if attempts >= ATTEMPTS || !failure.is_race() {
                return Err(failure.nothing_written());
            }
            tokio::time::sleep(Duration::from_millis(5 * u64::from(attempts))).await;
        }
    }

    async fn try_open(&self, afresh: bool) -> Result<Result<(), Forbidden>, Failure> {
        let mut open = OpenTransaction::begin(&self.pool, BEGIN).await?;
        if let Err(forbidden) = self.check_rights(&mut open).await? {
            return Ok(Err(forbidden));
        }
        let begun = self.row(&mut open, &self.key).await?;
        let existing = Namespace::look(&mut open, &self.schema).await?;
        if begun.is_none()
            && let Err(forbidden) = existing.check_free(&self.schema, &self.store)
        {
            return Ok(Err(forbidden));
        }
        if begun == Some(true) && existing.oid.is_some() && !afresh {
            return Ok(Ok(()));
        }
        if existing.oid.is_some() {
            let uses = outside(&mut open, &self.schema).await?;
            if !uses.is_empty() {
                return Ok(Err(Forbidden { uses }));
            }
        }
        // The tables before the row, which is the order in which a batch locks them.
        let schema = identifier(&self.schema);
        open.batch(&format!(
            "DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"
        ))
        .await?;
        let sql = "INSERT INTO eventcore.projections AS p (name, position, fence, leads_until, schema)
                   VALUES ($1, 0, 1, '-infinity', $2)
                   ON CONFLICT (name) DO UPDATE SET position = 0, fence = p.fence + 1, leader = NULL,
                          leads_until = '-infinity', error = NULL, schema = $2, feed = NULL, type_name = NULL";
        open.execute(&self.sql(sql), &[&self.key, &self.schema])
            .await?;
        let sql = "DELETE FROM eventcore.dead_letters WHERE projection = $1";
        open.execute(&self.sql(sql), &[&self.key]).await?;
        open.commit().await?;
        Ok(Ok(()))
    }

    /// Checks that this role can swap the rebuild in later.
    async fn check_rights(
        &self,
        open: &mut OpenTransaction,
    ) -> Result<Result<(), Forbidden>, Failure> {
        let live = &self.live_schema;
        let found = Namespace::look(open, live).await?;
        let is_made = self.row(open, &self.name).await? == Some(true);
        let allowed = found.check_replaceable(live);
        if is_made || allowed.is_err() {
            return Ok(allowed);
        }
        Ok(found.check_free(live, &self.store))
    }

    /// Returns `true` if the row with this name records that its schema was created, and `None` if
    /// there is no row.
    pub(super) async fn row(
        &self,
        open: &mut OpenTransaction,
        key: &str,
    ) -> Result<Option<bool>, Failure> {
        let sql = "SELECT schema IS NOT NULL FROM eventcore.projections WHERE name = $1";
        let rows = open.query(&self.sql(sql), &[&key]).await?;
        Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
    }
}
