//! The bank on disintegrate: decisions on state queries.

use disintegrate::{Decision, Event, NoSnapshot, StateMutate, StateQuery, serde::json::Json};
use disintegrate_postgres::{PgDecisionMaker, PgEventStore, decision_maker};
use serde::{Deserialize, Serialize};
use workload::{Accounts, Failure};

#[derive(Debug, Clone, PartialEq, Eq, Event, Serialize, Deserialize)]
#[stream(AccountEvent, [Deposited, Withdrawn])]
enum BankEvent {
    Deposited {
        #[id]
        account: String,
        amount: u64,
    },
    Withdrawn {
        #[id]
        account: String,
        amount: u64,
    },
}

#[derive(Debug, Default, Clone, StateQuery, Serialize, Deserialize)]
#[state_query(AccountEvent)]
struct Account {
    #[id]
    account: String,
    balance: i64,
    events: u64,
}

impl Account {
    fn new(account: u32) -> Self {
        Self { account: account.to_string(), ..Self::default() }
    }
}

impl StateMutate for Account {
    fn mutate(&mut self, event: Self::Event) {
        self.events += 1;
        match event {
            AccountEvent::Deposited { amount, .. } => self.balance += amount as i64,
            AccountEvent::Withdrawn { amount, .. } => self.balance -= amount as i64,
        }
    }
}

#[derive(Debug)]
struct Seen(i64, u64);

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Seen {}

struct Deposit {
    account: u32,
    times: u32,
}

impl Decision for Deposit {
    type Event = BankEvent;
    type StateQuery = Account;
    type Error = Seen;

    fn state_query(&self) -> Account {
        Account::new(self.account)
    }

    fn process(&self, account: &Account) -> Result<Vec<BankEvent>, Seen> {
        if self.times == 0 {
            return Err(Seen(account.balance, account.events));
        }
        let deposited = || BankEvent::Deposited { account: self.account.to_string(), amount: 1 };
        Ok((0..self.times).map(|_| deposited()).collect())
    }
}

struct Transfer {
    from: u32,
    to: u32,
}

impl Decision for Transfer {
    type Event = BankEvent;
    type StateQuery = (Account, Account);
    type Error = Seen;

    fn state_query(&self) -> (Account, Account) {
        (Account::new(self.from), Account::new(self.to))
    }

    fn process(&self, _: &(Account, Account)) -> Result<Vec<BankEvent>, Seen> {
        let withdrawn = BankEvent::Withdrawn { account: self.from.to_string(), amount: 1 };
        Ok(vec![withdrawn, BankEvent::Deposited { account: self.to.to_string(), amount: 1 }])
    }
}

pub struct Bank(PgDecisionMaker<BankEvent, Json<BankEvent>, NoSnapshot>);

impl Bank {
    pub async fn open(url: &str) -> Result<Self, Failure> {
        let pool = sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(url).await?;
        let store = PgEventStore::new_uninitialized(pool, Json::<BankEvent>::default());
        disintegrate_postgres::Migrator::new(store.clone()).init_event_store().await?;
        Ok(Self(decision_maker(store, NoSnapshot)))
    }
}

impl Accounts for Bank {
    const TRANSFERS: bool = true;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        self.0.make(Deposit { account, times }).await?;
        Ok(())
    }

    async fn transfer(&self, from: u32, to: u32) -> Result<(), Failure> {
        self.0.make(Transfer { from, to }).await?;
        Ok(())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        match self.0.make(Deposit { account, times: 0 }).await {
            Err(disintegrate::DecisionError::Domain(Seen(balance, events))) => Ok((balance, events)),
            Err(other) => Err(other.into()),
            Ok(_) => Err("a decision without events".into()),
        }
    }
}
