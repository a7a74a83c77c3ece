//! Conversions of PostgreSQL's errors and lost connections to those of an event store.

use std::{error::Error as _, fmt, sync::Arc, time::Duration};

use deadpool::managed::PoolError;
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::store::EventStoreError;

/// A failed request to the server, which several callers of one group commit share.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The driver's error.
    Driver(Arc<tokio_postgres::Error>),
    /// No response within the configured time.
    NoAnswer(Duration),
    /// All connections are in use, and none became free in time.
    PoolExhausted,
    /// The store was closed.
    Closed,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(Arc::new(error))
    }
}

impl From<PoolError<Self>> for Failure {
    fn from(error: PoolError<Self>) -> Self {
        match error {
            PoolError::Backend(failure) => failure,
            PoolError::Closed => Self::Closed,
            PoolError::Timeout(_)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => Self::PoolExhausted,
        }
    }
}

/// The driver's message for an error of the server is only `db error`. This has the server's code
/// instead, and advice; the message is that of the source.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver(error) => {
                if let Some(error) = error.as_db_error() {
                    let code = error.code().code();
                    return write!(f, "SQLSTATE {code}{}", advice_on(code, error.message()));
                }
                let why = why(error).unwrap_or_default();
                write!(f, "{error}{}", advice(&why))
            }
            Self::NoAnswer(time) => write!(f, "no answer within {time:?}"),
            Self::PoolExhausted => f.write_str("all connections of the pool are in use"),
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Driver(error) => error.source(),
            Self::NoAnswer(_) | Self::PoolExhausted | Self::Closed => None,
        }
    }
}

/// A failure, with the store that it concerns.
#[derive(Debug, thiserror::Error)]
#[error("the event store at {location} cannot be opened")]
struct At {
    location: String,
    source: Failure,
}

/// The driver's message if the server requires a password and none is configured.
const PASSWORD_MISSING: &str = "password missing";

fn why(error: &tokio_postgres::Error) -> Option<String> {
    error.source().map(ToString::to_string)
}

/// Returns advice for an error of the server, or an empty text.
fn advice_on(code: &str, message: &str) -> &'static str {
    match code {
        "42501" if message.contains("row-level security") => {
            "; events would be missed: give the role BYPASSRLS, or disable row level security on the tables of the store"
        }
        "26000" | "42P05" => {
            "; there may be a pooler in transaction mode that does not support prepared statements: set \
             `PostgresConfig::prepared_statements(false)`"
        }
        _ => "",
    }
}

/// Returns advice for this cause of a failure, or an empty text.
fn advice(why: &str) -> &'static str {
    if why == PASSWORD_MISSING {
        "; the server requires a password: write `postgres://user:password@host/database`"
    } else if why.contains("UnknownIssuer") {
        "; set `?sslrootcert=/path/ca.pem` to the certificate of the authority that signed the server's"
    } else {
        ""
    }
}

impl Failure {
    fn of_server(&self) -> Option<&DbError> {
        match self {
            Self::Driver(error) => error.as_db_error(),
            _ => None,
        }
    }

    pub(crate) fn is_of_server(&self) -> bool {
        self.of_server().is_some()
    }

    /// Returns `true` if the server refused only this statement: the connection is usable, and
    /// nothing was written.
    pub(crate) fn is_refusal(&self) -> bool {
        self.of_server().is_some_and(|error| {
            let fatal = [Some(Severity::Fatal), Some(Severity::Panic)];
            // The server became a standby while this process was connected.
            let demoted = *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION;
            !fatal.contains(&error.parsed_severity()) && !demoted
        })
    }

    /// Returns `true` if a prepared statement no longer fits the tables and types that it was
    /// prepared for. It must be prepared again on this connection; neither the statement nor its
    /// parameters are at fault.
    pub(crate) fn is_stale_statement(&self) -> bool {
        // Checks the routine, because the server may translate its messages. Internal errors are
        // never translated.
        self.of_server().is_some_and(|error| {
            (*error.code() == SqlState::FEATURE_NOT_SUPPORTED
                && error.routine() == Some("RevalidateCachedQuery"))
                || (*error.code() == SqlState::INTERNAL_ERROR
                    && error.message().starts_with("cache lookup failed"))
        })
    }

    /// Returns `true` if a table does not exist.
    pub(crate) fn is_undefined_table(&self) -> bool {
        self.of_server()
            .is_some_and(|error| *error.code() == SqlState::UNDEFINED_TABLE)
    }

    /// Returns `true` if a constraint is violated.
    pub(crate) fn is_violation(&self) -> bool {
        self.of_server()
            .is_some_and(|error| error.code().code().starts_with("23"))
    }

    /// Returns `true` if another process created the same object at the same time.
    pub(crate) fn is_race(&self) -> bool {
        const RACES: [&str; 8] = [
            "23505", "42P06", "42P07", "42710", "42723", "40001", "40P01", "XX000",
        ];
        self.of_server()
            .is_some_and(|error| RACES.contains(&error.code().code()))
    }

    /// Returns `true` if a single commit of a batch may be the cause, by its contents or its size.
    pub(crate) fn may_be_one_commit(&self) -> bool {
        self.is_refusal()
            && matches!(
                self.nothing_written(),
                EventStoreError::Other { .. }
                    | EventStoreError::StorageFull { .. }
                    | EventStoreError::Corrupt { .. }
            )
    }

    /// Converts a failure after which nothing is known to have been written.
    pub(crate) fn nothing_written(&self) -> EventStoreError {
        let source = Box::new(self.clone());
        let Some(error) = self.of_server() else {
            return match self {
                Self::Closed => EventStoreError::Closed,
                // A retry would lack it as well.
                Self::Driver(error) if why(error).as_deref() == Some(PASSWORD_MISSING) => {
                    EventStoreError::Other { source }
                }
                Self::PoolExhausted => EventStoreError::Busy { source },
                _ => EventStoreError::Unavailable { source },
            };
        };
        if self.is_stale_statement() {
            return EventStoreError::Unavailable { source };
        }
        let code = error.code();
        if matches!(
            *code,
            SqlState::T_R_SERIALIZATION_FAILURE
                | SqlState::T_R_DEADLOCK_DETECTED
                | SqlState::LOCK_NOT_AVAILABLE
                | SqlState::QUERY_CANCELED
        ) {
            return EventStoreError::Busy { source };
        }
        match code.code() {
            "53100" => EventStoreError::StorageFull { source },
            // Another server is or will become the primary: the next connection finds it.
            "25006" | "53300" => EventStoreError::Unavailable { source },
            "XX001" | "XX002" => EventStoreError::unreadable(self),
            code if code.starts_with("08") || code.starts_with("57P") => {
                EventStoreError::Unavailable { source }
            }
            code if code.starts_with("53") => EventStoreError::Busy { source },
            _ => EventStoreError::Other { source },
        }
    }

    /// Converts the failure of opening a store. Later, a missing writable server means that a
    /// failover is in progress; at this point it more likely means that this is the wrong server.
    pub(crate) fn of_start(&self, location: &str) -> EventStoreError {
        match self {
            Self::Driver(error) if is_standby(error) => EventStoreError::ReadOnly {
                location: location.to_owned(),
                source: Box::new(self.clone()),
            },
            _ => match self.nothing_written() {
                EventStoreError::Unavailable { .. } => EventStoreError::Unavailable {
                    source: Box::new(self.at(location)),
                },
                EventStoreError::Other { .. } => EventStoreError::Other {
                    source: Box::new(self.at(location)),
                },
                error => error,
            },
        }
    }

    fn at(&self, location: &str) -> At {
        At {
            location: location.to_owned(),
            source: self.clone(),
        }
    }

    /// Converts the failure of a commit that was sent. The server rolls back what it refuses; if
    /// the connection was lost, the outcome is unknown.
    pub(crate) fn of_commit(&self) -> EventStoreError {
        let unknown = EventStoreError::OutcomeUnknown {
            source: Box::new(self.clone()),
        };
        match self.of_server() {
            Some(error) if error.code().code() == "40003" => unknown,
            Some(error) if *error.code() == SqlState::READ_ONLY_SQL_TRANSACTION => {
                self.nothing_written()
            }
            Some(_) if self.is_refusal() => self.nothing_written(),
            _ => unknown,
        }
    }
}

/// Returns `true` if the server that responded is not writable.
fn is_standby(error: &tokio_postgres::Error) -> bool {
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .is_some_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}
