//! The routes: what can be asked, and what is answered.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequest, Path, Query, Request, State},
    response::Html,
    routing::{get, post},
};
use eventcore::{
    CommandLogic, ExecuteOptions, IdempotencyKey, Position, execute, sqlite::SqliteEventStore,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    domain::{AccountId, BankError, Deposit, LimitsId, OpenAccount, Transfer},
    live,
    problem::Problem,
    read_model::{AccountView, Reader},
};

/// The state that all handlers share.
pub struct Bank {
    pub store: SqliteEventStore,
    pub accounts: Reader,
    /// Closed when the service ends.
    pub stopped: watch::Receiver<()>,
}

pub fn service(store: SqliteEventStore, accounts: Reader, stopped: watch::Receiver<()>) -> Router {
    let bank = Bank {
        store,
        accounts,
        stopped,
    };
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/accounts", get(accounts_list).post(open))
        .route("/accounts/{account}", get(account))
        .route("/accounts/{account}/deposits", post(deposit))
        .route("/transfers", post(transfer))
        .route("/events", get(live::events))
        .with_state(Arc::new(bank))
}

/// The answer to a command. A GET with `?after=` this position shows what it did.
#[derive(Serialize)]
struct Done {
    position: u64,
    /// `true` if the same request was made before, and nothing was done now.
    repeated: bool,
}

/// The body of a request, and its header `Idempotency-Key`: a request with it is carried out once, however often it is sent.
struct Once<T> {
    body: T,
    key: Option<IdempotencyKey>,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Once<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let header = parts.headers.remove("idempotency-key");
        let asked = (parts.method.to_string(), parts.uri.path().to_owned());
        let request = Request::from_parts(parts, body);
        // As it was sent: a field that this build does not know yet makes another request, too.
        let Json(sent) = Json::<Value>::from_request(request, state)
            .await
            .map_err(Problem::bad_request)?;
        let key = match header {
            None => None,
            Some(value) => {
                let text = value.to_str().map_err(Problem::bad_request)?;
                let key = IdempotencyKey::new(text).map_err(Problem::bad_request)?;
                Some(
                    key.for_request(&(asked, &sent))
                        .map_err(Problem::bad_request)?,
                )
            }
        };
        let body = serde_json::from_value(sent).map_err(Problem::bad_request)?;
        Ok(Self { body, key })
    }
}

async fn run(
    bank: &Bank,
    key: Option<IdempotencyKey>,
    command: impl CommandLogic<Error = BankError>,
) -> Result<Json<Done>, Problem> {
    let mut options = ExecuteOptions::new();
    if let Some(key) = key {
        options = options.idempotency_key(key);
    }
    let done = execute(&bank.store, command, options).await?;
    Ok(Json(Done {
        position: done.position().get(),
        repeated: done.is_repeated(),
    }))
}

#[derive(Deserialize)]
struct Opening {
    account: String,
    owner: String,
}

async fn open(
    State(bank): State<Arc<Bank>>,
    Once {
        body: Opening { account, owner },
        key,
    }: Once<Opening>,
) -> Result<Json<Done>, Problem> {
    let account = AccountId(account);
    run(&bank, key, OpenAccount { account, owner }).await
}

#[derive(Deserialize)]
struct Amount {
    amount: u64,
}

async fn deposit(
    State(bank): State<Arc<Bank>>,
    Path(account): Path<String>,
    Once {
        body: Amount { amount },
        key,
    }: Once<Amount>,
) -> Result<Json<Done>, Problem> {
    let account = AccountId(account);
    run(&bank, key, Deposit { account, amount }).await
}

#[derive(Deserialize)]
struct Moving {
    from: String,
    to: String,
    amount: u64,
}

async fn transfer(
    State(bank): State<Arc<Bank>>,
    Once {
        body: Moving { from, to, amount },
        key,
    }: Once<Moving>,
) -> Result<Json<Done>, Problem> {
    let command = Transfer {
        from: AccountId(from),
        to: AccountId(to),
        limits: LimitsId::of_the_bank(),
        amount,
    };
    run(&bank, key, command).await
}

/// `?after=17` waits until the read model shows what was committed at position 17: one reads one's own writes.
#[derive(Deserialize)]
struct Seen {
    #[serde(default)]
    after: u64,
}

async fn accounts_list(
    State(bank): State<Arc<Bank>>,
    Query(Seen { after }): Query<Seen>,
) -> Result<Json<Vec<AccountView>>, Problem> {
    Ok(Json(bank.accounts.all(Position::new(after)).await?))
}

async fn account(
    State(bank): State<Arc<Bank>>,
    Path(account): Path<String>,
    Query(Seen { after }): Query<Seen>,
) -> Result<Json<AccountView>, Problem> {
    match bank.accounts.one(&account, Position::new(after)).await? {
        Some(view) => Ok(Json(view)),
        None => Err(Problem::from(BankError::NoSuchAccount { account })),
    }
}
