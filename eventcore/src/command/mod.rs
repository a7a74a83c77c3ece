//! Commands: the streams that they declare, the state that they fold, the decision that they make.
//!
//! This module knows no store and no runtime. `#[derive(Command)]` writes [`CommandStreams`]; people write
//! [`CommandLogic`], and [`StreamResolver`] where streams are found from state.

mod cached;
mod declare;
mod field;
mod handle;
mod record;
mod writes;

pub use cached::{CachedCommand, Caching, Folded};
pub(crate) use declare::Slot;
pub use declare::{DeclarationError, Declarations};
pub use field::{
    ByKey, FieldEvent, FieldHandle, KeyField, Raw, RawField, RawKey, SlotField, StreamField,
    Unnamed, empty_slot,
};
pub use handle::{Access, AppendsTo, ReadOnly, StreamHandle, StreamHandles, Writable};
pub use record::FieldRecord;
pub use writes::{HandleMismatch, Handles};
pub(crate) use writes::{Refusal, WriteBuffer};

use crate::event::DecodeError;

/// The streams of a command, and the types through which its logic reads and writes them.
///
/// `#[derive(Command)]` implements it; see the expansion with `cargo expand`. A hand-written impl visits the same
/// fields in the same order in every method; where [`streams`](Self::streams) takes other handles than were declared,
/// the command fails with [`HandleMismatch`] before it decides.
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares no streams",
    label = "this is not a command",
    note = "derive it: `#[derive(Command)] struct {Self} {{ #[stream] account: AccountId, … }}`"
)]
pub trait CommandStreams {
    /// The handles: one field per declared stream. They are the only way to write.
    type Streams<'a>
    where
        Self: 'a;

    /// An event and which declared stream it is from.
    type Event<'a>
    where
        Self: 'a;

    /// The streams found from state; `()` for a command without such slots.
    type Discovered: Default;

    /// `true` if the command has slots for discovered streams.
    const DISCOVERS: bool = false;

    /// Declares the streams of the fields, in order. It is called once per execution.
    fn declare(&self, streams: &mut Declarations);

    /// Declares the discovered streams, in order.
    fn declare_discovered(_discovered: &Self::Discovered, _streams: &mut Declarations) {}

    /// Asks the [`StreamResolver`] which further streams the command needs; `None` without slots.
    fn discover(&self, _state: &Self::State) -> Option<Self::Discovered>
    where
        Self: CommandLogic,
    {
        None
    }

    /// Returns the functions that cache the folded state for the next command with the same streams; `None` if it is not cached.
    ///
    /// A hand-written impl returns `Some(Caching::of::<Self>())` and implements [`CachedCommand`]. It is not asked of a
    /// command with slots for discovered streams.
    fn caching() -> Option<Caching<Self::State>>
    where
        Self: CommandLogic,
    {
        None
    }

    /// Makes the handles, one per declared and then discovered stream, in order.
    fn streams<'a>(
        &'a self,
        discovered: &'a Self::Discovered,
        handles: &mut Handles<'a>,
    ) -> Self::Streams<'a>;

    /// Decodes an event of one of the streams.
    ///
    /// # Errors
    /// [`DecodeError`] when the stored event is none that the stream's event type knows.
    fn event<'a>(
        &'a self,
        discovered: &'a Self::Discovered,
        event: FieldRecord<'a>,
    ) -> Result<Self::Event<'a>, DecodeError>;
}

/// The rules of a command: folds the events of its streams into a state, and decides.
///
/// Both methods are synchronous and pure: no I/O, no clock, no randomness that is not a field. The runtime may run
/// them several times for one call of [`execute`](crate::execute()).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no command logic",
    label = "this command does not say what it does",
    note = "write `impl CommandLogic for {Self}` with `apply` and `handle`",
    note = "`execute` takes the store first: `execute(&store, command, RetryPolicy::new())`"
)]
pub trait CommandLogic: CommandStreams {
    /// The state that the decision is based on. It starts from its default.
    type State: Default;

    /// The command's own error; it is returned typed, in
    /// [`CommandError::BusinessRuleViolation`](crate::CommandError::BusinessRuleViolation).
    type Error;

    /// Folds one event into the state. Events of all streams come in global commit order.
    fn apply(&self, state: &mut Self::State, event: Self::Event<'_>);

    /// Decides: appends events through the handles, or refuses. On `Err` nothing is written.
    ///
    /// # Errors
    /// The command's own.
    fn handle(&self, state: &Self::State, streams: Self::Streams<'_>) -> Result<(), Self::Error>;
}

/// Finds further streams from the state, for a command with `#[command(discovers(…))]`.
///
/// It is asked again after the found streams were read, until its answer stays the same. It is pure, like
/// [`CommandLogic`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares discovered streams and does not say how they are found",
    label = "slots declared here",
    note = "write `impl StreamResolver for {Self}` with `discover_related_streams`"
)]
pub trait StreamResolver: CommandLogic {
    /// The streams that this state calls for, all of them each time.
    fn discover_related_streams(&self, state: &Self::State) -> Self::Discovered;
}
