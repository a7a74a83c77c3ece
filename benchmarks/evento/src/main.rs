//! The bank on evento, without snapshots, so that it does the same work. Its commands write one aggregate, so there are no
//! transfers.

use evento::{Executor, Projection, metadata::Event, migrator::{Migrate, Plan}};
use workload::{Accounts, Failure, Parser, Run};

#[evento::aggregate(name = "bank/Account")]
pub enum Account {
    Deposited { amount: i64 },
}

#[evento::projection(id = id)]
#[evento::snapshot(none)]
pub struct Balance {
    pub id: String,
    pub balance: i64,
    pub events: u64,
}

#[evento::handler]
async fn on_deposited(event: Event<Deposited>, row: &mut Balance) -> anyhow::Result<()> {
    row.id = event.aggregate_id.to_owned();
    row.balance += event.data.amount;
    row.events += 1;
    Ok(())
}

struct Bank<E>(E);

impl<E: Executor> Bank<E> {
    async fn load(&self, account: u32) -> anyhow::Result<Option<Balance>> {
        let projection = Projection::<E, Balance>::new::<Account>().handler(on_deposited());
        projection.load(format!("account-{account}")).execute(&self.0).await
    }
}

impl<E: Executor + Send + Sync + 'static> Accounts for Bank<E> {
    const TRANSFERS: bool = false;

    async fn deposit(&self, account: u32, times: u32) -> Result<(), Failure> {
        use evento::ProjectionAggregate;
        let mut write = match self.load(account).await? {
            Some(balance) => balance.write()?,
            None => evento::append(format!("account-{account}")),
        };
        for _ in 0..times {
            write.event(&Deposited { amount: 1 });
        }
        write.commit(&self.0).await?;
        Ok(())
    }

    async fn transfer(&self, _: u32, _: u32) -> Result<(), Failure> {
        Err("a command writes one aggregate".into())
    }

    async fn fold(&self, account: u32) -> Result<(i64, u64), Failure> {
        let balance = self.load(account).await?;
        Ok(balance.map_or((0, 0), |balance| (balance.balance, balance.events)))
    }
}

fn main() -> Result<(), Failure> {
    let run = Run::parse();
    workload::runtime()?.block_on(async {
        match run.contender.as_str() {
            "evento, SQLite" => {
                let options = sqlx::sqlite::SqliteConnectOptions::new()
                    .filename(format!("{}/bank.db", run.target))
                    .create_if_missing(true)
                    .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                    .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
                let pool = sqlx::sqlite::SqlitePoolOptions::new().connect_with(options).await?;
                let mut connection = pool.acquire().await?;
                evento::sql_migrator::new::<sqlx::Sqlite>()?.run(&mut *connection, &Plan::apply_all()).await?;
                drop(connection);
                run.measure(Bank(evento::Sqlite::from(pool))).await
            }
            "evento, PostgreSQL" => {
                let pool = sqlx::postgres::PgPoolOptions::new().max_connections(16).connect(&run.target).await?;
                let mut connection = pool.acquire().await?;
                evento::sql_migrator::new::<sqlx::Postgres>()?.run(&mut *connection, &Plan::apply_all()).await?;
                drop(connection);
                run.measure(Bank(evento::Postgres::from(pool))).await
            }
            other => Err(format!("no contender `{other}` here").into()),
        }
    })
}
