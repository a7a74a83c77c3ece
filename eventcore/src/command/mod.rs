//! Commands: the streams that they declare, the state that they fold, and the decision that they make.
//!
//! This module knows neither stores nor the runtime. `#[derive(Command)]` generates
//! [`CommandStreams`]; applications implement [`CommandLogic`], and [`StreamResolver`] where
//! streams are found from state.

pub mod codegen;
mod folding;
mod handle;
mod writes;

pub use codegen::DeclarationError;
pub(crate) use codegen::Slot;
pub(crate) use folding::{Folding, Snapshots};
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

    /// The handles that the [`StreamResolver`] sees, all of them read-only; `()` for a command
    /// without slots.
    type KnownStreams<'a>
    where
        Self: 'a;

    /// `true` if the command has slots for discovered streams.
    const DISCOVERS: bool = false;

    /// Declares the streams of the fields, in order. It is called once per execution.
    fn declare(&self, streams: &mut Declarations);

    /// Declares the discovered streams, in order.
    fn declare_discovered(_discovered: &Self::Discovered, _streams: &mut Declarations) {}

    /// Creates the handles for the [`StreamResolver`]; returns `None` without slots.
    fn known_streams<'a>(
        &'a self,
        _discovered: &'a Self::Discovered,
        _handles: &mut Handles<'a>,
    ) -> Option<Self::KnownStreams<'a>> {
        None
    }

    /// Calls the [`StreamResolver`] to find further streams that the command needs.
    fn discover<'a>(
        &'a self,
        _state: &Self::State,
        _streams: Self::KnownStreams<'a>,
    ) -> Self::Discovered
    where
        Self: CommandLogic,
    {
        Self::Discovered::default()
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

/// The rules of a command: decides on the states of its streams.
///
/// The methods are synchronous and must be pure: no I/O, no clock, and no randomness other than
/// values in the command's fields. The runtime may call them several times for one call of
/// [`execute`](crate::execute()).
///
/// A command that needs only the states of its streams, through the handles, has `type State = ()`
/// and no `apply`. One that must see the events of several streams in their common order folds them
/// into a state of its own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no command logic",
    label = "this command does not say what it does",
    note = "write `impl CommandLogic for {Self}` with `handle`",
    note = "`execute` takes the store first: `execute(&store, command, RetryPolicy::new())`"
)]
pub trait CommandLogic: CommandStreams {
    /// The command's own state, folded by [`apply`](Self::apply). It starts as its default.
    type State: Default;

    /// The command's own error, returned with its type in
    /// [`CommandError::BusinessRuleViolation`](crate::CommandError::BusinessRuleViolation).
    type Error;

    /// Folds one event into the command's own state. The events of all streams come in global
    /// commit order. It is not called if the state has no size, as `()` has none: then no event is
    /// decoded for it.
    ///
    /// The default is for such commands; it does not build with any other `State`, although `cargo
    /// check` accepts it:
    ///
    /// ```compile_fail,E0080
    /// # use eventcore::{Command, CommandLogic, Event, RetryPolicy, StreamKey, execute, memory::MemoryEventStore};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize, Event)]
    /// # enum CounterEvent { Counted }
    /// # #[derive(StreamKey)]
    /// # #[stream_key(category = "counter", event = CounterEvent)]
    /// # struct CounterId(u32);
    /// #[derive(Command)]
    /// struct Count { #[stream] counter: CounterId }
    ///
    /// impl CommandLogic for Count {
    ///     type State = u64; // and no `apply`
    ///     type Error = std::convert::Infallible;
    ///
    ///     fn handle(&self, _: &u64, _: CountStreams<'_>) -> Result<(), Self::Error> {
    ///         Ok(())
    ///     }
    /// }
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// #     let _ = execute(&MemoryEventStore::new(), Count { counter: CounterId(1) }, RetryPolicy::new()).await;
    /// # });
    /// ```
    fn apply(&self, state: &mut Self::State, event: Self::Event<'_>) {
        const {
            assert!(
                size_of::<Self::State>() == 0,
                "this command has a `State` and no `apply`: write `fn apply(&self, state: &mut Self::State, event: …)` in \
                 its `impl CommandLogic`, or `type State = ();` if the states of its streams are enough"
            );
        }
        let (_, _) = (state, event);
    }

    /// Decides: appends events through the handles, or refuses. On `Err` nothing is written.
    ///
    /// # Errors
    /// Returns the command's own error if it refuses.
    fn handle(&self, state: &Self::State, streams: Self::Streams<'_>) -> Result<(), Self::Error>;
}

/// Finds further streams from what is known, for a command with `#[command(discovers(…))]`.
///
/// It is called again after the streams it found have been read, until its answer stays the same.
/// It must be pure, like [`CommandLogic`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` declares discovered streams and does not say how they are found",
    label = "slots declared here",
    note = "write `impl StreamResolver for {Self}` with `discover_related_streams`"
)]
pub trait StreamResolver: CommandLogic {
    /// Returns the streams that are needed, each time all of them. `state` is the command's own
    /// state; `streams` has the states of the streams that are known so far, of which none can be
    /// appended to here.
    ///
    /// A stream that the command declares must not be returned: it has a handle already, and the
    /// command would fail with [`DeclarationError::DuplicateStream`].
    fn discover_related_streams(
        &self,
        state: &Self::State,
        streams: Self::KnownStreams<'_>,
    ) -> Self::Discovered;
}
