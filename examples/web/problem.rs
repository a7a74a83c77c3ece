//! Errors as HTTP responses: a status code, and a sentence for people.

use std::fmt::Display;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use eventcore::{
    CommandError, DeclarationError, EventStoreError, LoadError, projection::WaitError,
};

use crate::{domain::BankError, errors::with_causes};

pub struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Display) -> Self {
        Self {
            status,
            detail: detail.to_string(),
        }
    }

    pub fn bad_request(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn internal(detail: impl Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl From<BankError> for Problem {
    fn from(error: BankError) -> Self {
        let status = match error {
            BankError::NoSuchAccount { .. } => StatusCode::NOT_FOUND,
            BankError::AlreadyOpen { .. } => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error)
    }
}

impl From<CommandError<BankError>> for Problem {
    fn from(error: CommandError<BankError>) -> Self {
        match error {
            CommandError::BusinessRuleViolation(why) => why.into(),
            CommandError::Declaration(DeclarationError::DuplicateStream { .. }) => {
                Self::bad_request("the two accounts of a transfer must not be the same")
            }
            CommandError::Declaration(why) => Self::bad_request(with_causes(&why)),
            moved @ CommandError::VersionMoved { .. } => {
                Self::new(StatusCode::PRECONDITION_FAILED, moved)
            }
            // The status that the draft standard of the `Idempotency-Key` header asks for.
            CommandError::KeyReused(reused) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, reused),
            // The client may send the same request again with the same key: it is carried out once.
            error @ (CommandError::ConcurrencyError { .. }
            | CommandError::OutcomeUnknown { .. }) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, with_causes(&error))
            }
            CommandError::EventStoreError(error) => error.into(),
            error => Self::internal(with_causes(&error)),
        }
    }
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::EventStoreError(error) => error.into(),
            LoadError::InvalidStreamId(why) => Self::bad_request(why),
            error => Self::internal(with_causes(&error)),
        }
    }
}

impl From<EventStoreError> for Problem {
    fn from(error: EventStoreError) -> Self {
        let status = if error.is_transient() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self::new(status, with_causes(&error))
    }
}

impl From<WaitError> for Problem {
    fn from(error: WaitError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, with_causes(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.detail }));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            return (self.status, [(header::RETRY_AFTER, "1")], body).into_response();
        }
        (self.status, body).into_response()
    }
}
