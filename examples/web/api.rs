//! The routes of the service, with their requests and responses.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, State},
    http::{header, request::Parts},
    response::{Html, IntoResponse},
    routing::{get, post},
};
use eventcore::{
    CommandLogic, ExecuteOptions, IdempotencyKey, Position, Version, execute, load,
    sqlite::SqliteEventStore,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    domain::{AccountId, BankError, Deposit, LimitsId, OpenAccount, Transfer, Withdraw},
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
        .route("/accounts/{account}/withdrawals", post(withdraw))
        .route("/transfers", post(transfer))
        .route("/events", get(live::events))
        .with_state(Arc::new(bank))
}

/// The response to a command. A GET with `?after=` this position shows its effect.
#[derive(Serialize)]
struct Done {
    position: u64,
    /// `true` if the same request was carried out before, and nothing was done now.
    repeated: bool,
}

/// The body of a request and its header `Idempotency-Key`, with which it is carried out once, however often it is sent.
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
        // The fingerprint covers the body as it was sent, with fields that this build does not know.
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

/// The header `If-Match`: the version of an account that a GET returned as `ETag`. If the account has changed since, the command
/// is refused.
struct IfMatch(Option<Version>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            return Ok(Self(None));
        };
        let version = value
            .to_str()
            .ok()
            .and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok())
            .ok_or_else(|| Problem::bad_request("`If-Match` takes one ETag of an account"))?;
        Ok(Self(Some(Version::new(version))))
    }
}

impl IfMatch {
    fn options(self, account: &AccountId) -> ExecuteOptions {
        let options = ExecuteOptions::new();
        match self.0 {
            Some(version) => options.expect_version(account, version),
            None => options,
        }
    }
}

async fn run(
    bank: &Bank,
    key: Option<IdempotencyKey>,
    mut options: ExecuteOptions,
    command: impl CommandLogic<Error = BankError>,
) -> Result<Json<Done>, Problem> {
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
    let options = ExecuteOptions::new();
    run(&bank, key, options, OpenAccount { account, owner }).await
}

#[derive(Deserialize)]
struct Amount {
    amount: u64,
}

async fn deposit(
    State(bank): State<Arc<Bank>>,
    Path(account): Path<String>,
    if_match: IfMatch,
    Once {
        body: Amount { amount },
        key,
    }: Once<Amount>,
) -> Result<Json<Done>, Problem> {
    let account = AccountId(account);
    let options = if_match.options(&account);
    run(&bank, key, options, Deposit { account, amount }).await
}

async fn withdraw(
    State(bank): State<Arc<Bank>>,
    Path(account): Path<String>,
    if_match: IfMatch,
    Once {
        body: Amount { amount },
        key,
    }: Once<Amount>,
) -> Result<Json<Done>, Problem> {
    let account = AccountId(account);
    let options = if_match.options(&account);
    run(&bank, key, options, Withdraw { account, amount }).await
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
        limits: LimitsId::from("bank"),
        amount,
    };
    run(&bank, key, ExecuteOptions::new(), command).await
}

/// The query `?after=17`: waits until the read model includes position 17, so that clients read their own writes.
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

/// Returns one account, from the state of its stream, which is never out of date.
async fn account(
    State(bank): State<Arc<Bank>>,
    Path(account): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let id = AccountId(account);
    let found = load(&bank.store, &id).await?;
    let Some(owner) = found.owner.clone() else {
        return Err(BankError::NoSuchAccount(id).into());
    };
    let etag = format!("\"{}\"", found.version());
    let view = AccountView {
        account: id.0,
        owner,
        balance: found.balance,
    };
    Ok(([(header::ETAG, etag)], Json(view)))
}
