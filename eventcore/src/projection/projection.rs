//! The trait that users implement: [`Projection`].

use std::{error::Error, future::Future};

use super::EventFeed;
use crate::RecordedEvent;

/// A read model made of events: which events it reads, and what each of them changes.
///
/// `Tx` is a transaction of the database that holds the read model, such as
/// `eventcore::sqlite::SqliteTransaction`. What [`apply`](Self::apply) writes through it and the checkpoint commit
/// together, so each event changes the read model exactly once, through every crash and take-over.
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
/// A read model that is kept elsewhere, such as in a search engine, is a projection for any `Tx`
/// (`impl<Tx: Send> Projection<Tx> for Search`) that leaves `tx` alone: then the database keeps the checkpoint, an event
/// may come again after a crash, and [`RecordedEvent::position`] tells one that was applied already.
///
/// What is not in the read model must not matter: a projection is shared, and after a failure a batch is applied again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection into `{Tx}`",
    label = "this does not say what an event changes there",
    note = "implement `Projection<{Tx}>` for it; the transaction type belongs to the database that the runner writes to"
)]
pub trait Projection<Tx>: Send + Sync + 'static {
    /// The events that it reads.
    type Feed: EventFeed + Send;
    /// The error of the projection.
    type Error: Into<Box<dyn Error + Send + Sync>> + Send;
    /// The name of the projection in its database, under which its checkpoint, lease and parked events are kept.
    ///
    /// It has 1 to 63 characters: ASCII letters, digits, `_` and `-`. A runner for a projection with any other name does
    /// not compile.
    const NAME: &'static str;

    /// Creates what the read model needs, if it is not there yet. It runs each time that this process becomes the leader,
    /// and once in each rebuild, where it finds nothing.
    fn prepare(&self, tx: &mut Tx) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = tx;
        async { Ok(()) }
    }

    /// Changes the read model as an event says.
    ///
    /// While a transaction is open it may hold up others, so do slow things, such as calls over the network, before the
    /// first use of `tx`: the transaction begins there. Do not run commands in it; that is what an
    /// [`Automation`](super::Automation) is for.
    fn apply(
        &self,
        event: Self::Feed,
        recorded: &RecordedEvent,
        tx: &mut Tx,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
