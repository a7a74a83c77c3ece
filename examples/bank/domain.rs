//! The bank's rules. Nothing here knows a command line or a database.

use eventcore::{Command, CommandLogic, Event, StreamKey, require};
use serde::{Deserialize, Serialize};

/// An event of an account. Amounts are in whole units of the one currency.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum AccountEvent {
    Opened { owner: String },
    Deposited { amount: u64 },
    Withdrawn { amount: u64 },
}

/// The limits of the bank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
pub enum LimitsEvent {
    Set { most_per_transfer: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
pub struct AccountId(pub String);

#[derive(Debug, Clone, PartialEq, Eq, Hash, StreamKey)]
#[stream_key(category = "limits", event = LimitsEvent)]
pub struct LimitsId(pub String);

impl LimitsId {
    /// The limits of the whole bank.
    pub fn of_the_bank() -> Self {
        Self("bank".to_owned())
    }
}

/// An account as its events have made it.
#[derive(Debug, Default)]
pub struct Account {
    pub owner: Option<String>,
    pub balance: u64,
}

impl Account {
    pub fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner),
            AccountEvent::Deposited { amount } => {
                self.balance = self.balance.saturating_add(amount);
            }
            AccountEvent::Withdrawn { amount } => {
                self.balance = self.balance.saturating_sub(amount);
            }
        }
    }

    fn may_receive(&self, id: &AccountId, amount: u64) -> Result<(), BankError> {
        require!(
            self.owner.is_some(),
            BankError::NoSuchAccount {
                account: id.0.clone()
            }
        );
        require!(amount > 0, BankError::NothingToMove);
        require!(
            self.balance.checked_add(amount).is_some(),
            BankError::TooRich {
                account: id.0.clone()
            }
        );
        Ok(())
    }

    fn may_pay(&self, id: &AccountId, amount: u64) -> Result<(), BankError> {
        require!(
            self.owner.is_some(),
            BankError::NoSuchAccount {
                account: id.0.clone()
            }
        );
        require!(amount > 0, BankError::NothingToMove);
        let (account, available) = (id.0.clone(), self.balance);
        require!(
            available >= amount,
            BankError::InsufficientFunds {
                account,
                available,
                asked: amount
            }
        );
        Ok(())
    }
}

/// A refusal of the bank.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    #[error("there is no account `{account}`; open it first")]
    NoSuchAccount { account: String },
    #[error("account `{account}` is already open, in the name of {owner}")]
    AlreadyOpen { account: String, owner: String },
    #[error("account `{account}` has only {available}, which is {} short of {asked}", asked - available)]
    InsufficientFunds {
        account: String,
        available: u64,
        asked: u64,
    },
    #[error("{asked} is more than the {most} that one transfer may move")]
    OverLimit { asked: u64, most: u64 },
    #[error("the amount must be more than 0")]
    NothingToMove,
    #[error("account `{account}` cannot hold that much")]
    TooRich { account: String },
}

#[derive(Debug, Command)]
pub struct OpenAccount {
    #[stream]
    pub account: AccountId,
    pub owner: String,
}

impl CommandLogic for OpenAccount {
    type State = Account;
    type Error = BankError;

    fn apply(&self, account: &mut Account, event: OpenAccountEvent<'_>) {
        match event {
            OpenAccountEvent::Account(event) => account.apply(event),
        }
    }

    fn handle(&self, account: &Account, streams: OpenAccountStreams<'_>) -> Result<(), BankError> {
        if let Some(owner) = account.owner.clone() {
            return Err(BankError::AlreadyOpen {
                account: self.account.0.clone(),
                owner,
            });
        }
        streams.account.append(AccountEvent::Opened {
            owner: self.owner.clone(),
        });
        Ok(())
    }
}

#[derive(Debug, Command)]
pub struct Deposit {
    #[stream]
    pub account: AccountId,
    pub amount: u64,
}

impl CommandLogic for Deposit {
    type State = Account;
    type Error = BankError;

    fn apply(&self, account: &mut Account, event: DepositEvent<'_>) {
        match event {
            DepositEvent::Account(event) => account.apply(event),
        }
    }

    fn handle(&self, account: &Account, streams: DepositStreams<'_>) -> Result<(), BankError> {
        account.may_receive(&self.account, self.amount)?;
        streams.account.append(AccountEvent::Deposited {
            amount: self.amount,
        });
        Ok(())
    }
}

#[derive(Debug, Command)]
pub struct Withdraw {
    #[stream]
    pub account: AccountId,
    pub amount: u64,
}

impl CommandLogic for Withdraw {
    type State = Account;
    type Error = BankError;

    fn apply(&self, account: &mut Account, event: WithdrawEvent<'_>) {
        match event {
            WithdrawEvent::Account(event) => account.apply(event),
        }
    }

    fn handle(&self, account: &Account, streams: WithdrawStreams<'_>) -> Result<(), BankError> {
        account.may_pay(&self.account, self.amount)?;
        streams.account.append(AccountEvent::Withdrawn {
            amount: self.amount,
        });
        Ok(())
    }
}

/// Moves money from one account to another, both or neither, and never beyond the limit that holds at that moment.
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

#[derive(Debug, Default)]
pub struct Funds {
    from: Account,
    to: Account,
    most_per_transfer: Option<u64>,
}

impl CommandLogic for Transfer {
    type State = Funds;
    type Error = BankError;

    fn apply(&self, funds: &mut Funds, event: TransferEvent<'_>) {
        match event {
            TransferEvent::From(event) => funds.from.apply(event),
            TransferEvent::To(event) => funds.to.apply(event),
            TransferEvent::Limits(LimitsEvent::Set { most_per_transfer }) => {
                funds.most_per_transfer = Some(most_per_transfer);
            }
        }
    }

    fn handle(&self, funds: &Funds, streams: TransferStreams<'_>) -> Result<(), BankError> {
        if let Some(most) = funds.most_per_transfer {
            require!(
                self.amount <= most,
                BankError::OverLimit {
                    asked: self.amount,
                    most
                }
            );
        }
        funds.from.may_pay(&self.from, self.amount)?;
        funds.to.may_receive(&self.to, self.amount)?;
        streams.from.append(AccountEvent::Withdrawn {
            amount: self.amount,
        });
        streams.to.append(AccountEvent::Deposited {
            amount: self.amount,
        });
        Ok(())
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

    fn apply(&self, (): &mut (), _: SetLimitEvent<'_>) {}

    fn handle(&self, (): &(), streams: SetLimitStreams<'_>) -> Result<(), BankError> {
        streams.limits.append(LimitsEvent::Set {
            most_per_transfer: self.most_per_transfer,
        });
        Ok(())
    }
}
