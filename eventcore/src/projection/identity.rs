//! Detects two projections with the same name by what is stored beside their checkpoint. The
//! registry does this for one process, by their Rust types; this works across processes.

use std::{any::type_name, future::Future};

use super::{
    Lease, LeaseError, Projection, ProjectionError, ProjectionIdentity, ProjectionRecord,
    ReadModel,
    feed::EventFeed,
    leader::{Exit, Run},
    retry::Pauses,
};
use crate::{EventStore, Position};

impl ProjectionIdentity {
    fn of<Tx, P: Projection<Tx>>() -> Self {
        Self {
            feed: P::Feed::filter().to_string(),
            type_name: without_modules(type_name::<P>()),
        }
    }
}

impl<S, D, P, F> Run<'_, S, D, P, F>
where
    S: EventStore + Clone + 'static,
    D: ReadModel,
    P: Projection<D::Transaction>,
    F: Future<Output = ()>,
{
    /// Fails if the leader in another process is a projection with a different feed.
    pub(super) fn check_leader(
        &mut self,
        record: Option<&ProjectionRecord>,
    ) -> Result<(), ProjectionError> {
        let identity = record.and_then(|record| record.identity.as_ref());
        identity.map_or(Ok(()), |identity| self.compare(identity))
    }

    /// Checks that the read model belongs to this projection, and records the identity of this one
    /// with it.
    pub(super) async fn identify(&mut self, lease: &Lease) -> Result<(), Exit> {
        let own = ProjectionIdentity::of::<D::Transaction, P>();
        let mut pauses = Pauses::new();
        loop {
            let record = self.setup.database.record().await;
            let record = record.map_err(LeaseError::from);
            let Some(record) = self.settle(&mut pauses, record).await? else {
                continue;
            };
            let identity = record.and_then(|record| record.identity);
            if identity.as_ref() == Some(&own) {
                return Ok(());
            }
            // Before the first event, the read model has no content that could belong to another
            // projection.
            if lease.position > Position::START
                && let Some(identity) = &identity
            {
                self.compare(identity)?;
            }
            let identified = self.setup.database.identify(lease, &own).await;
            if self.settle(&mut pauses, identified).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Fails if the recorded projection has another feed, and logs a warning if only its type has
    /// another name: it may have been renamed.
    fn compare(&mut self, recorded: &ProjectionIdentity) -> Result<(), ProjectionError> {
        let own = ProjectionIdentity::of::<D::Transaction, P>();
        let is_former = !self.is_rebuild() && self.setup.former_feeds.contains(&recorded.feed);
        if recorded.feed != own.feed && !is_former {
            return Err(ProjectionError::FeedChanged {
                projection: P::NAME,
                own_type: own.type_name,
                own_feed: own.feed,
                recorded_type: recorded.type_name.clone(),
                recorded_feed: recorded.feed.clone(),
            });
        }
        let other = Some(&recorded.type_name).filter(|other| **other != own.type_name);
        if let Some(other) = other
            && self.warned_of.as_ref() != Some(other)
        {
            tracing::warn!(
                projection = P::NAME,
                own_type = own.type_name,
                recorded_type = other,
                "a projection of another type was the last leader under this name; if it was not renamed, give one of the \
                 two another `NAME`"
            );
            self.warned_of = Some(other.clone());
        }
        Ok(())
    }
}

/// Returns the name of a type without the modules of the types in it. Programs that share a
/// projection may have it in different modules.
fn without_modules(type_name: &str) -> String {
    let is_path = |character: char| character.is_alphanumeric() || "_:".contains(character);
    let parts = type_name.split_inclusive(|character| !is_path(character));
    parts
        .map(|part| part.rsplit("::").next().unwrap_or_default())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_name_has_no_modules() {
        for (name, short) in [
            ("Balances", "Balances"),
            ("bank::read_models::Balances", "Balances"),
            (
                "a::Automated<b::Store<c::D, &str>, (e::F, [g::H; 2])>",
                "Automated<Store<D, &str>, (F, [H; 2])>",
            ),
            ("a::b::{{closure}}::Größe", "{{closure}}Größe"),
        ] {
            assert_eq!(without_modules(name), short);
        }
    }
}
