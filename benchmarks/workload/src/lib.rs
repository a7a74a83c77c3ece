//! The workload of every contender: deposits and transfers between accounts, timed in the same way and checked afterwards.
//!
//! A contender implements [`Accounts`] in the way that the documentation of its library shows: load the events, fold them,
//! decide, append. This crate does not depend on any of the libraries.

use std::{error::Error, sync::Arc, time::Instant};

use clap::ValueEnum;
pub use clap::Parser;
use serde::{Deserialize, Serialize};

/// An error of a contender. A conflict is retried until the command succeeds.
pub type Failure = Box<dyn Error + Send + Sync>;
/// The accounts that clients choose from.
const ACCOUNTS: u32 = 200;
/// The events of the stream of the workload `long`, before it starts.
const LONG: u32 = 10_000;
/// A command that fails this often is reported.
const MOST_TRIES: u32 = 10_000;

/// A bank on one library and one store.
pub trait Accounts: Send + Sync + 'static {
    /// `true` if one command can write two streams atomically.
    const TRANSFERS: bool;

    /// Appends `times` deposits in one command that has read and folded the account.
    fn deposit(&self, account: u32, times: u32) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Moves one unit in one command that has read and folded both accounts.
    fn transfer(&self, from: u32, to: u32) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns the balance of an account and the number of its events.
    fn fold(&self, account: u32) -> impl Future<Output = Result<(i64, u64), Failure>> + Send;
}

/// The kind of the clients' commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Deposits on 200 accounts: one stream per command.
    One,
    /// Transfers between 200 accounts: two streams per command, atomically.
    Two,
    /// Deposits on one account that has 10,000 events.
    Long,
    /// Deposits on one account by all clients.
    Hot,
}

/// One run.
#[derive(Debug, Clone, Parser)]
pub struct Run {
    /// The contender.
    pub contender: String,
    /// The workload.
    #[arg(long, value_enum)]
    pub workload: Workload,
    /// Concurrent clients.
    #[arg(long)]
    pub clients: u32,
    /// Commands, of all clients together.
    #[arg(long)]
    pub commands: u32,
    /// An empty folder, or the URL of an empty database.
    #[arg(long)]
    pub target: String,
}

/// The result of a run, one line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    pub contender: String,
    pub workload: Workload,
    pub clients: u32,
    pub commands: u32,
    pub commands_per_second: f64,
    /// Milliseconds of one command, conflicts and retries included.
    pub p50: f64,
    pub p99: f64,
    /// Commands that a contender returned and the harness retried.
    pub retries: u64,
}

impl Run {
    /// Runs a contender, checks that nothing was lost or doubled, and prints the finding.
    pub async fn measure<A: Accounts>(&self, accounts: A) -> Result<(), Failure> {
        if self.workload == Workload::Two && !A::TRANSFERS {
            return Err(format!("{} cannot write two streams in one command", self.contender).into());
        }
        let accounts = Arc::new(accounts);
        let seeded = if self.workload == Workload::Long { LONG } else { 0 };
        if seeded > 0 {
            accounts.deposit(0, seeded).await?;
        }
        let started = Instant::now();
        let clients = (0..self.clients).map(|client| {
            let share = self.commands / self.clients + u32::from(client < self.commands % self.clients);
            tokio::spawn(client_of(accounts.clone(), self.workload, u64::from(client), share))
        });
        let (mut times, mut retries) = (Vec::new(), 0);
        for client in clients.collect::<Vec<_>>() {
            let (of_client, retried) = client.await??;
            times.extend(of_client);
            retries += retried;
        }
        let seconds = started.elapsed().as_secs_f64();
        self.check(&*accounts, seeded).await?;
        times.sort_by(f64::total_cmp);
        let quantile = |q: f64| times[((times.len() - 1) as f64 * q) as usize] * 1e3;
        let finding = Finding {
            contender: self.contender.clone(),
            workload: self.workload,
            clients: self.clients,
            commands: self.commands,
            commands_per_second: f64::from(self.commands) / seconds,
            p50: quantile(0.5),
            p99: quantile(0.99),
            retries,
        };
        println!("{}", serde_json::to_string(&finding)?);
        Ok(())
    }

    async fn check<A: Accounts>(&self, accounts: &A, seeded: u32) -> Result<(), Failure> {
        let (mut balance, mut events) = (0, 0);
        for account in 0..ACCOUNTS {
            let (of_account, count) = accounts.fold(account).await?;
            balance += of_account;
            events += count;
        }
        let (expected_balance, expected_events) = match self.workload {
            Workload::Two => (0, 2 * u64::from(self.commands)),
            _ => (i64::from(self.commands + seeded), u64::from(self.commands + seeded)),
        };
        if (balance, events) != (expected_balance, expected_events) {
            return Err(format!(
                "{}: {events} events and a total of {balance}, where {expected_events} and {expected_balance} are right",
                self.contender
            )
            .into());
        }
        Ok(())
    }
}

async fn client_of<A: Accounts>(
    accounts: Arc<A>,
    workload: Workload,
    seed: u64,
    commands: u32,
) -> Result<(Vec<f64>, u64), Failure> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut times, mut retries) = (Vec::with_capacity(commands as usize), 0);
    for _ in 0..commands {
        let from = if matches!(workload, Workload::One | Workload::Two) { random.u32(0..ACCOUNTS) } else { 0 };
        let to = (from + random.u32(1..ACCOUNTS)) % ACCOUNTS;
        let started = Instant::now();
        let mut tries = 0;
        loop {
            let done = match workload {
                Workload::Two => accounts.transfer(from, to).await,
                _ => accounts.deposit(from, 1).await,
            };
            match done {
                Ok(()) => break,
                Err(failure) if tries == MOST_TRIES => return Err(failure),
                Err(_) => tries += 1,
            }
            tokio::task::yield_now().await;
        }
        retries += u64::from(tries);
        times.push(started.elapsed().as_secs_f64());
    }
    Ok((times, retries))
}

/// The runtime that every contender runs on.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
