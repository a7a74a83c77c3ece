//! The domain that the cases share: accounts, limits, orders, and a transfer between accounts.

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState};
use serde::{Deserialize, Serialize};

/// The events of an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum AccountEvent {
    /// Money came in.
    Deposited {
        /// The amount.
        amount: u64,
    },
    /// Money went out.
    Withdrawn {
        /// The amount.
        amount: u64,
    },
}

/// The events of an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum OrderEvent {
    /// It was placed.
    Placed,
}

/// The events of a limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum LimitsEvent {
    /// It was set.
    Set {
        /// The most a day.
        daily: u64,
    },
}

/// The state of an account.
#[derive(Debug, Default)]
pub struct Account {
    /// The balance.
    pub balance: u64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account)]
pub struct AccountId(pub u64);

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "order", event = OrderEvent)]
pub struct OrderId(pub u64);

/// The limits of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "limits", event = LimitsEvent)]
pub struct LimitsId(pub u64);

/// The refusal of a command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("refused")]
pub struct Refused;

/// Moves money.
#[derive(Debug, Command)]
pub struct Transfer {
    /// From here.
    #[stream]
    pub from: AccountId,
    /// To there.
    #[stream]
    pub to: AccountId,
    /// Within these.
    #[stream(read)]
    pub limits: LimitsId,
    /// The amount.
    pub amount: u64,
}

impl CommandLogic for Transfer {
    type State = u64;
    type Error = Refused;

    fn apply(&self, available: &mut u64, event: TransferEvent<'_>) {
        match event {
            TransferEvent::From(AccountEvent::Deposited { amount }) => *available += amount,
            TransferEvent::From(AccountEvent::Withdrawn { amount }) => *available -= amount,
            TransferEvent::To(_) | TransferEvent::Limits(LimitsEvent::Set { .. }) => {}
        }
    }

    fn handle(&self, available: &u64, streams: TransferStreams<'_>) -> Result<(), Refused> {
        eventcore::require!(*available >= self.amount, Refused);
        streams.from.append(AccountEvent::Withdrawn {
            amount: self.amount,
        });
        streams.to.append(AccountEvent::Deposited {
            amount: self.amount,
        });
        Ok(())
    }
}
