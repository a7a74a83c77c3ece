//! The bank's rules. Nothing here knows a command line or a database.

use eventcore::{Command, CommandLogic, Event, StreamKey, StreamState, command, require};
use serde::{Deserialize, Serialize};

/// An event of an account. Amounts are in whole units of the one currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

#[derive(Debug, Default)]
pub struct Account {
    pub owner: Option<String>,
    pub balance: u64,
}

impl StreamState<AccountEvent> for Account {
    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner),
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, traits(Display, FromStr, From))]
pub struct AccountId(pub String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum LimitsEvent {
    Set { most_per_transfer: u64 },
}

/// The most that one transfer may move; `None` without a limit.
#[derive(Debug, Default)]
pub struct Limits(Option<u64>);

impl StreamState<LimitsEvent> for Limits {
    fn apply(&mut self, LimitsEvent::Set { most_per_transfer }: LimitsEvent) {
        self.0 = Some(most_per_transfer);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "limits", event = LimitsEvent, state = Limits, traits(From))]
pub struct LimitsId(pub String);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    #[error("there is no account `{0}`; open it first")]
    NoSuchAccount(AccountId),
    #[error("account `{0}` is already open, in the name of {1}")]
    AlreadyOpen(AccountId, String),
    #[error("account `{0}` has only {1}, which is {short} short of {2}", short = .2 - .1)]
    InsufficientFunds(AccountId, u64, u64),
    #[error("{asked} is more than the {most} that one transfer may move")]
    OverLimit { asked: u64, most: u64 },
    #[error("the amount must be more than 0")]
    NothingToMove,
    #[error("account `{0}` cannot hold that much")]
    TooRich(AccountId),
}

#[derive(Debug, Command)]
pub struct OpenAccount {
    #[stream]
    pub account: AccountId,
    pub owner: String,
}

impl CommandLogic for OpenAccount {
    type State = ();
    type Error = BankError;
    fn handle(&self, (): &(), streams: OpenAccountStreams<'_>) -> Result<(), BankError> {
        if let Some(owner) = streams.account.owner.clone() {
            return Err(BankError::AlreadyOpen(self.account.clone(), owner));
        }
        let owner = self.owner.clone();
        streams.account.append(AccountEvent::Opened { owner });
        Ok(())
    }
}

fn check(account: command::StreamHandle<'_, AccountId>, amount: u64) -> Result<(), BankError> {
    let id = account.key().clone();
    require!(account.owner.is_some(), BankError::NoSuchAccount(id));
    require!(amount > 0, BankError::NothingToMove);
    Ok(())
}

fn deposit(account: command::StreamHandle<'_, AccountId>, amount: u64) -> Result<(), BankError> {
    check(account, amount)?;
    let total = account.balance.checked_add(amount);
    require!(total.is_some(), BankError::TooRich(account.key().clone()));
    account.append(AccountEvent::Deposited { amount });
    Ok(())
}

fn withdraw(account: command::StreamHandle<'_, AccountId>, amount: u64) -> Result<(), BankError> {
    check(account, amount)?;
    let (id, has) = (account.key().clone(), account.balance);
    require!(amount <= has, BankError::InsufficientFunds(id, has, amount));
    account.append(AccountEvent::Withdrawn { amount });
    Ok(())
}

#[derive(Debug, Command)]
pub struct Deposit {
    #[stream]
    pub account: AccountId,
    pub amount: u64,
}

impl CommandLogic for Deposit {
    type State = ();
    type Error = BankError;
    fn handle(&self, (): &(), streams: DepositStreams<'_>) -> Result<(), BankError> {
        deposit(streams.account, self.amount)
    }
}

#[derive(Debug, Command)]
pub struct Withdraw {
    #[stream]
    pub account: AccountId,
    pub amount: u64,
}

impl CommandLogic for Withdraw {
    type State = ();
    type Error = BankError;
    fn handle(&self, (): &(), streams: WithdrawStreams<'_>) -> Result<(), BankError> {
        withdraw(streams.account, self.amount)
    }
}

/// Moves money from one account to another, within the limit that holds at that moment.
#[derive(Debug, Command)]
pub struct Transfer {
    #[stream]
    pub from: AccountId,
    #[stream]
    pub to: AccountId,
    #[stream(read)]
    pub limits: LimitsId,
    pub amount: u64,
}

impl CommandLogic for Transfer {
    type State = ();
    type Error = BankError;
    fn handle(&self, (): &(), streams: TransferStreams<'_>) -> Result<(), BankError> {
        let (asked, most) = (self.amount, streams.limits.0.unwrap_or(u64::MAX));
        require!(asked <= most, BankError::OverLimit { asked, most });
        withdraw(streams.from, asked)?;
        deposit(streams.to, asked)
    }
}

#[derive(Debug, Command)]
pub struct SetLimit {
    #[stream]
    pub limits: LimitsId,
    pub most_per_transfer: u64,
}

impl CommandLogic for SetLimit {
    type State = ();
    type Error = BankError;
    fn handle(&self, (): &(), streams: SetLimitStreams<'_>) -> Result<(), BankError> {
        let (limits, most_per_transfer) = (streams.limits, self.most_per_transfer);
        limits.append(LimitsEvent::Set { most_per_transfer });
        Ok(())
    }
}
