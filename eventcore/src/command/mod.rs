//! Commands: the streams that they declare, the state that they fold, and the decision that they make.
//!
//! This module knows neither stores nor the runtime. `#[derive(Command)]` generates
//! [`CommandStreams`]; applications implement [`CommandLogic`], and [`StreamResolver`] where
//! streams are found from state.

mod cached;
pub mod codegen;
mod handle;
mod writes;

pub use cached::{CachedCommand, Caching, Folded};
pub use codegen::DeclarationError;
pub(crate) use codegen::Slot;
pub use handle::{AppendsTo, CanAppend, ReadOnly, StreamHandle, StreamHandles, Writable};
pub use writes::HandleMismatch;
pub(crate) use writes::{Refusal, WriteBuffer};

use self::codegen::{Declarations, FieldRecord, Handles};
use crate::event::DecodeError;

/// The streams of a command, and the types through which its logic reads and writes them.
///
/// `#[derive(Command)]` implements it; `cargo expand` shows the expansion. A hand-written impl must
/// visit the same fields in the same order in every method; if [`streams`](Self::streams) takes
/// handles other than those declared, the command fails with [`HandleMismatch`] before it decides.
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares no streams",
    label = "this is not a command",
    note = "derive it: `#[derive(Command)] struct {Self} {{ #[stream] account: AccountId, … }}`"
)]
pub trait CommandStreams {
    /// The handles: one field per declared stream. Writing is possible only through them.
    type Streams<'a>
    where
        Self: 'a;

    /// An event, and the declared stream that it is from.
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

    /// Calls the [`StreamResolver`] to find further streams that the command needs; returns `None`
    /// without slots.
    fn discover(&self, _state: &Self::State) -> Option<Self::Discovered>
    where
        Self: CommandLogic,
    {
        None
    }

    /// Returns the functions that cache the folded state for the next command with the same
    /// streams; `None` if it is not cached.
    ///
    /// A hand-written impl returns `Some(Caching::of::<Self>())` and implements [`CachedCommand`].
    /// The method is not called for a command with slots for discovered streams.
    fn caching() -> Option<Caching<Self::State>>
    where
        Self: CommandLogic,
    {
        None
    }

    /// Creates the handles, one for each declared and then each discovered stream, in order.
    fn streams<'a>(
        &'a self,
        discovered: &'a Self::Discovered,
        handles: &mut Handles<'a>,
    ) -> Self::Streams<'a>;

    /// Decodes an event of one of the streams.
    ///
    /// # Errors
    /// Returns [`DecodeError`] if the stream's event type does not know the stored event.
    fn event<'a>(
        &'a self,
        discovered: &'a Self::Discovered,
        event: FieldRecord<'a>,
    ) -> Result<Self::Event<'a>, DecodeError>;
}

/// The rules of a command: folds the events of its streams into a state, and decides.
///
/// Both methods are synchronous and must be pure: no I/O, no clock, and no randomness other than
/// values in the command's fields. The runtime may call them several times for one call of
/// [`execute`](crate::execute()).
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no command logic",
    label = "this command does not say what it does",
    note = "write `impl CommandLogic for {Self}` with `apply` and `handle`",
    note = "`execute` takes the store first: `execute(&store, command, RetryPolicy::new())`"
)]
pub trait CommandLogic: CommandStreams {
    /// The state that the decision is based on. It starts as its default.
    type State: Default;

    /// The command's own error, returned with its type in
    /// [`CommandError::BusinessRuleViolation`](crate::CommandError::BusinessRuleViolation).
    type Error;

    /// Folds one event into the state. The events of all streams come in global commit order.
    fn apply(&self, state: &mut Self::State, event: Self::Event<'_>);

    /// Decides: appends events through the handles, or refuses. On `Err` nothing is written.
    ///
    /// # Errors
    /// Returns the command's own error if it refuses.
    fn handle(&self, state: &Self::State, streams: Self::Streams<'_>) -> Result<(), Self::Error>;
}

/// Finds further streams from the state, for a command with `#[command(discovers(…))]`.
///
/// It is called again after the streams it found have been read, until its answer stays the same.
/// It must be pure, like [`CommandLogic`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares discovered streams and does not say how they are found",
    label = "slots declared here",
    note = "write `impl StreamResolver for {Self}` with `discover_related_streams`"
)]
pub trait StreamResolver: CommandLogic {
    /// Returns the streams that this state calls for: each time all of them.
    fn discover_related_streams(&self, state: &Self::State) -> Self::Discovered;
}
