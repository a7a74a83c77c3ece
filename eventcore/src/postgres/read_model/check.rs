//! The checks before a commit: a projection may only write to its own schema, and a rebuilt read
//! model must be able to replace the live one.

use std::sync::atomic::Ordering;

use crate::postgres::{
    error::Failure,
    read_model::{
        namespace::forbidden,
        open::OpenTransaction,
        target::{Kind, Target},
        transaction::PostgresTransaction,
    },
};
use crate::projection::{Forbidden, ForbiddenUse, Lease, LeaseError, Stage};

const STRAY_LOCKS: &str = include_str!("../sql/read_model/stray_locks.sql");
const STRAY_DEFINITIONS: &str = include_str!("../sql/read_model/stray_definitions.sql");
const OUTSIDE: &str = include_str!("../sql/read_model/outside.sql");
const PROTECTED: &str = include_str!("../sql/read_model/protected.sql");

impl Target {
    /// Checks what a transaction has done so far. For a live projection, only the first batch of
    /// each lease is checked, because a projection that leaves its schema does so from the
    /// beginning. For a rebuild, each batch is checked, so that none changes the live read model.
    pub(super) async fn check(
        &self,
        transaction: &mut PostgresTransaction,
        lease: &Lease,
        stage: Stage,
    ) -> Result<(), LeaseError> {
        if let Some(forbidden) = transaction.forbidden() {
            return Err(LeaseError::Forbidden(forbidden.clone()));
        }
        let is_prepared = stage == Stage::Prepared;
        let makes_schema = transaction.made_schema().is_some();
        let is_due = match (self.kind, is_prepared) {
            (Kind::Rebuild, true) => true,
            (Kind::Live, false) => {
                transaction.is_used() && self.checked.load(Ordering::Relaxed) != lease.fence
            }
            _ => transaction.is_used(),
        };
        if !is_due {
            return Ok(());
        }
        if is_prepared && makes_schema && lease.position.get() > 0 {
            return Err(LeaseError::Forbidden(forbidden(
                format!("schema `{}`", self.schema),
                format!(
                    "it is new, but the checkpoint of the projection is already at position {}, so earlier events \
                     would be missing; run `start_rebuild` to build the read model from the first event",
                    lease.position
                ),
            )));
        }
        let found = match transaction.own().await {
            Ok(open) => self.find(open, is_prepared).await,
            Err(failure) => Err(failure),
        };
        match found {
            Ok(uses) if uses.is_empty() => {
                if !is_prepared {
                    self.checked.store(lease.fence, Ordering::Relaxed);
                }
                Ok(())
            }
            Ok(uses) => Err(LeaseError::Forbidden(Forbidden { uses })),
            Err(failure) => Err(failure.nothing_written().into()),
        }
    }

    async fn find(
        &self,
        open: &mut OpenTransaction,
        is_prepared: bool,
    ) -> Result<Vec<ForbiddenUse>, Failure> {
        let schema = &*self.schema;
        let mut strays = open.names(STRAY_LOCKS, &[&schema, &is_prepared]).await?;
        if is_prepared {
            strays.extend(open.names(STRAY_DEFINITIONS, &[&schema]).await?);
            strays.sort();
            strays.dedup();
        }
        let reason = format!(
            "projection `{}` may only write to its own schema `{schema}`; create the object in `prepare`, and do not \
             name schemas in statements",
            self.name
        );
        let mut uses: Vec<_> = strays
            .into_iter()
            .map(|object| ForbiddenUse {
                object,
                reason: reason.clone(),
            })
            .collect();
        if is_prepared && self.kind == Kind::Rebuild {
            uses.extend(self.find_obstacles(open).await?);
        }
        Ok(uses)
    }

    /// Returns the obstacles to replacing the live read model: objects elsewhere that would be
    /// dropped with it, and protection of its tables that would be lost.
    pub(super) async fn find_obstacles(
        &self,
        open: &mut OpenTransaction,
    ) -> Result<Vec<ForbiddenUse>, Failure> {
        let live = &*self.live_schema;
        let mut uses = outside(open, live).await?;
        for row in open.query(PROTECTED, &[&live, &&*self.schema]).await? {
            uses.push(ForbiddenUse {
                object: row.try_get(0)?,
                reason: row.try_get(1)?,
            });
        }
        Ok(uses)
    }
}

/// Returns the objects elsewhere that would be dropped together with a schema.
pub(super) async fn outside(
    open: &mut OpenTransaction,
    schema: &str,
) -> Result<Vec<ForbiddenUse>, Failure> {
    let found = open.names(OUTSIDE, &[&schema]).await?;
    let reason = format!(
        "it depends on schema `{schema}`, which a rebuild replaces as a whole, so it would be dropped; drop it first, \
         or create it in `prepare`"
    );
    let uses = found.into_iter().map(|object| ForbiddenUse {
        object,
        reason: reason.clone(),
    });
    Ok(uses.collect())
}
