//! Projections that issue commands: [`Automation`].

use std::{error::Error, future::Future};

use super::{Projection, ProjectionRunner, feed::EventFeed};
use crate::{
    CommandError, CommandLogic, EventStore, ExecuteOptions, ExecutionResponse, IdempotencyKey,
    RecordedEvent, execute, projection::ProjectionDatabase,
};

/// A process manager: reacts to events by issuing commands, each exactly once.
///
/// Each command carries an idempotency key made of the automation's name, the event's position and
/// the command's number in the reaction. If a reaction is repeated because the process died between
/// a command and the checkpoint, commands that were already committed are not committed again. A
/// reaction must therefore issue the same commands in the same order when it receives the same
/// event again: make decisions in the commands, not in the reaction. Such a key never equals any
/// other [`IdempotencyKey`].
///
/// ```
/// # #[cfg(feature = "macros")] mod example {
/// # use eventcore::*; use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, Event)] enum OrderEvent { Placed, Shipped }
/// # #[derive(Debug, Clone, StreamKey)] #[stream_key(category = "order", event = OrderEvent)] struct OrderId(u64);
/// # #[derive(Command)] struct Ship { #[stream] order: OrderId }
/// # impl CommandLogic for Ship {
/// #     type State = (); type Error = std::convert::Infallible;
/// #     fn apply(&self, _: &mut (), _: ShipEvent<'_>) {}
/// #     fn handle(&self, _: &(), streams: ShipStreams<'_>) -> Result<(), Self::Error> { streams.order.append(OrderEvent::Shipped); Ok(()) }
/// # }
/// use eventcore::projection::{Automation, Reaction};
///
/// struct ShipWhatIsPlaced;
///
/// impl<S: EventStore> Automation<S> for ShipWhatIsPlaced {
///     type Feed = (OrderId, OrderEvent);
///     type Error = CommandError<std::convert::Infallible>;
///     const NAME: &'static str = "shipping";
///
///     async fn react(&self, (order, event): (OrderId, OrderEvent), reaction: &mut Reaction<'_, S>) -> Result<(), Self::Error> {
///         if let OrderEvent::Placed = event {
///             reaction.execute(Ship { order }).await?;
///         }
///         Ok(())
///     }
/// }
/// # }
/// ```
pub trait Automation<S>: Send + Sync + 'static {
    /// The events that the automation reacts to.
    type Feed: EventFeed + Send;
    /// The error type of a reaction. Errors go to the runner's error policy, so handle expected
    /// business refusals in [`react`](Self::react).
    type Error: Into<Box<dyn Error + Send + Sync>> + Send;
    /// The name of the automation, which identifies its checkpoint and is part of its idempotency
    /// keys. The format is that of [`Projection::NAME`].
    const NAME: &'static str;

    /// Issues the commands that an event requires.
    fn react(
        &self,
        event: Self::Feed,
        reaction: &mut Reaction<'_, S>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The reaction of an [`Automation`] to one event, through which it issues commands.
#[derive(Debug)]
pub struct Reaction<'a, S> {
    store: &'a S,
    event: &'a RecordedEvent,
    automation: &'static str,
    commands: u32,
}

impl<S: EventStore> Reaction<'_, S> {
    /// Returns the event with its metadata.
    pub fn event(&self) -> &RecordedEvent {
        self.event
    }

    /// Runs a command, at most once for this point of this reaction. The command's events have this
    /// event as their cause and share its correlation id.
    ///
    /// # Errors
    /// Returns [`CommandError`]; the command's own errors stay typed.
    pub async fn execute<C: CommandLogic>(
        &mut self,
        command: C,
    ) -> Result<ExecutionResponse, CommandError<C::Error>> {
        self.execute_with(command, ExecuteOptions::new()).await
    }

    /// Runs a command like [`execute`](Self::execute), with the given options. The idempotency key,
    /// the causation id and, if the event has one, the correlation id are overwritten.
    ///
    /// # Errors
    /// Returns [`CommandError`]; the command's own errors stay typed.
    pub async fn execute_with<C: CommandLogic>(
        &mut self,
        command: C,
        options: impl Into<ExecuteOptions>,
    ) -> Result<ExecutionResponse, CommandError<C::Error>> {
        self.commands += 1;
        let (automation, position, number) = (self.automation, self.event.position, self.commands);
        let mut options = options.into().causation_id(self.event.event_id.to_string());
        if let Some(conversation) = &self.event.metadata.correlation_id {
            options = options.correlation_id(conversation);
        }
        let key = IdempotencyKey::of_automation(automation, position, number);
        execute(self.store, command, options.idempotency_key(key)).await
    }
}

/// Adapts an [`Automation`] to a projection that writes only its checkpoint.
#[derive(Debug)]
pub struct Automated<S, A> {
    store: S,
    automation: A,
}

impl<S, A, Tx> Projection<Tx> for Automated<S, A>
where
    S: EventStore + 'static,
    A: Automation<S>,
    Tx: Send,
{
    type Feed = A::Feed;
    type Error = A::Error;
    const NAME: &'static str = A::NAME;

    async fn apply(
        &self,
        event: A::Feed,
        recorded: &RecordedEvent,
        _: &mut Tx,
    ) -> Result<(), A::Error> {
        let mut reaction = Reaction {
            store: &self.store,
            event: recorded,
            automation: A::NAME,
            commands: 0,
        };
        self.automation.react(event, &mut reaction).await
    }
}

#[allow(
    clippy::mismatching_type_param_order,
    reason = "the store is its own database"
)]
impl<S, A> ProjectionRunner<S, S, Automated<S, A>>
where
    S: EventStore + ProjectionDatabase,
    A: Automation<S>,
{
    /// Creates a runner for an automation that keeps its checkpoint in the event store's database.
    pub fn automation(store: S, automation: A) -> Self {
        let projection = Automated {
            store: store.clone(),
            automation,
        };
        Self::new(store, projection)
    }
}
