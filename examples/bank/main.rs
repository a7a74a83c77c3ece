//! A bank in one SQLite file, or in a PostgreSQL database; see `bank --help`. The exit code is 0 on success, 1 if the bank refuses,
//! 2 for a wrong command line, 3 if the database cannot be used.

#[path = "../database.rs"]
mod database;
mod domain;
#[path = "../errors.rs"]
mod errors;
mod statement;
#[cfg(test)]
mod tests;

use std::{fmt::Display, process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};
use database::Database;
use domain::{AccountId, BankError, Deposit, LimitsId, OpenAccount, SetLimit, Transfer, Withdraw};
use errors::with_causes;
use eventcore::{
    CommandError, CommandLogic, DeclarationError, EventStore, EventStoreError, ExecuteOptions,
    IdempotencyKey, execute,
};

#[derive(Parser)]
#[command(
    about = "A bank in one SQLite file, or in a PostgreSQL database",
    version
)]
struct Arguments {
    /// A SQLite file, which is created if it does not exist, or the URL of a database (`postgres://…`)
    #[arg(long, default_value = "bank.db", global = true)]
    database: Database,

    /// A name for this request: a request with the same name is carried out once
    #[arg(long, global = true, value_parser = |text: &str| IdempotencyKey::new(text))]
    request: Option<IdempotencyKey>,

    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Open an account
    Open { account: String, owner: String },
    /// Pay money in
    Deposit { account: String, amount: u64 },
    /// Pay money out
    Withdraw { account: String, amount: u64 },
    /// Move money from one account to another
    Transfer {
        from: String,
        to: String,
        amount: u64,
    },
    /// Set the most that one transfer may move
    Limit { most: u64 },
    /// Show what happened to an account
    Statement { account: String },
}

/// A failure, by the exit code that it leads to.
enum Failure {
    Refused(BankError),
    Usage(String),
    Store(String),
}

#[tokio::main]
async fn main() -> ExitCode {
    let (code, message) = match run(Arguments::parse()).await {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Refused(why)) => (1, format!("refused: {why}")),
        Err(Failure::Usage(why)) => (2, format!("error: {why}")),
        Err(Failure::Store(why)) => (3, format!("error: {why}")),
    };
    eprintln!("{message}");
    ExitCode::from(code)
}

async fn run(
    Arguments {
        database,
        request,
        action,
    }: Arguments,
) -> Result<(), Failure> {
    let store = database.open().await?.into();
    let bank = Bank { store, request };
    match action {
        Action::Open { account, owner } => {
            let said = format!("opened `{account}` for {owner}");
            bank.run(
                OpenAccount {
                    account: AccountId(account),
                    owner,
                },
                said,
            )
            .await
        }
        Action::Deposit { account, amount } => {
            let said = format!("deposited {amount} to `{account}`");
            bank.run(
                Deposit {
                    account: AccountId(account),
                    amount,
                },
                said,
            )
            .await
        }
        Action::Withdraw { account, amount } => {
            let said = format!("withdrew {amount} from `{account}`");
            bank.run(
                Withdraw {
                    account: AccountId(account),
                    amount,
                },
                said,
            )
            .await
        }
        Action::Transfer { from, to, amount } => {
            let said = format!("moved {amount} from `{from}` to `{to}`");
            let limits = LimitsId::from("bank");
            bank.run(
                Transfer {
                    from: AccountId(from),
                    to: AccountId(to),
                    limits,
                    amount,
                },
                said,
            )
            .await
        }
        Action::Limit { most } => {
            let command = SetLimit {
                limits: LimitsId::from("bank"),
                most_per_transfer: most,
            };
            bank.run(command, format!("a transfer may now move {most}"))
                .await
        }
        Action::Statement { account } => statement::print(&bank.store, &AccountId(account)).await,
    }
}

struct Bank {
    store: Arc<dyn EventStore>,
    request: Option<IdempotencyKey>,
}

impl Bank {
    async fn run(
        &self,
        command: impl CommandLogic<Error = BankError>,
        said: impl Display,
    ) -> Result<(), Failure> {
        let mut options = ExecuteOptions::new();
        if let Some(key) = &self.request {
            options = options.idempotency_key(key.clone());
        }
        let done = execute(&self.store, command, options).await?;
        if done.is_repeated() {
            println!(
                "nothing new: this request was done before, at position {}",
                done.position()
            );
        } else {
            println!("{said}");
        }
        Ok(())
    }
}

impl From<CommandError<BankError>> for Failure {
    fn from(error: CommandError<BankError>) -> Self {
        match error {
            CommandError::BusinessRuleViolation(why) => Self::Refused(why),
            CommandError::Declaration(DeclarationError::DuplicateStream { .. }) => {
                Self::Usage("the two accounts of a transfer must not be the same".to_owned())
            }
            CommandError::Declaration(why) => Self::Usage(with_causes(&why)),
            other => Self::Store(with_causes(&other)),
        }
    }
}

impl From<EventStoreError> for Failure {
    fn from(error: EventStoreError) -> Self {
        Self::Store(with_causes(&error))
    }
}
