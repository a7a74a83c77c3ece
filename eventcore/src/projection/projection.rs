//! The trait that applications implement: [`Projection`].

use std::{error::Error, future::Future};

use super::feed::EventFeed;
use crate::RecordedEvent;

/// A read model built from events. An implementation defines the events to read and the changes
/// that each of them makes.
///
/// `Tx` is a transaction of the database that holds the read model, such as
/// `eventcore::sqlite::SqliteTransaction`. The writes of [`apply`](Self::apply) commit together
/// with the checkpoint, so each event changes the read model exactly once, even across crashes and
/// takeovers.
///
/// ```
/// # #[cfg(all(feature = "macros", feature = "sqlite"))] mod example {
/// # use serde::{Serialize, Deserialize};
/// use eventcore::{Event, RecordedEvent, StreamKey, projection::Projection};
/// use eventcore::sqlite::{SqliteTransaction, rusqlite};
///
/// # #[derive(Serialize, Deserialize, Event)]
/// # enum AccountEvent { Deposited { amount: u64 }, Withdrawn { amount: u64 } }
/// # #[derive(StreamKey)]
/// # #[stream_key(category = "account", event = AccountEvent)]
/// # struct AccountId(u64);
/// struct Balances;
///
/// impl Projection<SqliteTransaction> for Balances {
///     type Feed = (AccountId, AccountEvent);
///     type Error = rusqlite::Error;
///     const NAME: &'static str = "balances";
///
///     async fn prepare(&self, tx: &mut SqliteTransaction) -> Result<(), rusqlite::Error> {
///         tx.execute_batch("CREATE TABLE IF NOT EXISTS balances (account INTEGER PRIMARY KEY, amount INTEGER NOT NULL)")
///     }
///
///     async fn apply(
///         &self,
///         (AccountId(account), event): (AccountId, AccountEvent),
///         _: &RecordedEvent,
///         tx: &mut SqliteTransaction,
///     ) -> Result<(), rusqlite::Error> {
///         let change = match event {
///             AccountEvent::Deposited { amount } => i128::from(amount),
///             AccountEvent::Withdrawn { amount } => -i128::from(amount),
///         };
///         tx.execute(
///             "INSERT INTO balances VALUES (?1, ?2) ON CONFLICT DO UPDATE SET amount = amount + ?2",
///             (account, change as i64),
///         )?;
///         Ok(())
///     }
/// }
/// # }
/// ```
///
/// For a read model outside of the database, such as in a search engine, implement the projection
/// for any `Tx` (`impl<Tx: Send> Projection<Tx> for Search`) and do not use `tx`. The database then
/// stores only the checkpoint. An event may be applied again after a crash; use
/// [`RecordedEvent::position`] to detect events that were already applied.
///
/// Keep no state outside of the read model: a projection is shared, and a batch is applied again
/// after a failure.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection into `{Tx}`",
    label = "this does not say what an event changes there",
    note = "implement `Projection<{Tx}>` for it; the transaction type belongs to the database that the runner writes to"
)]
pub trait Projection<Tx>: Send + Sync + 'static {
    /// The events that the projection reads.
    type Feed: EventFeed + Send;
    /// The error type of the projection.
    type Error: Into<Box<dyn Error + Send + Sync>> + Send;
    /// The name of the projection, which identifies its checkpoint, lease and dead letters in the
    /// database.
    ///
    /// A name has 1 to 63 characters: ASCII letters, digits, `_` and `-`. A runner for a projection
    /// with any other name does not compile.
    const NAME: &'static str;

    /// Creates what the read model needs, such as tables, unless it exists. Called each time this
    /// process becomes the leader, and once in each rebuild, when the read model is empty.
    fn prepare(&self, tx: &mut Tx) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = tx;
        async { Ok(()) }
    }

    /// Applies an event to the read model.
    ///
    /// An open transaction may block other writers, so do slow work, such as network calls, before
    /// the first use of `tx`, which begins the transaction. Do not run commands here; use an
    /// [`Automation`](super::Automation) instead.
    fn apply(
        &self,
        event: Self::Feed,
        recorded: &RecordedEvent,
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
