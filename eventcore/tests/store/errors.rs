//! An error says what failed, and leaves the cause to its source, so that a log that prints both says nothing twice.

use std::{error::Error, fmt, sync::Arc, time::SystemTime};

use eventcore::{
    CommandError, CommitId, DeclarationError, DecodeError, EncodeError, Event, EventStoreError,
    IdempotencyKey, LoadError, Metadata, Position, StreamId, StreamIdError, StreamKey, Version,
    projection::{
        FeedError, FeedErrorCause, LeaseError, ProjectionError, SubscriptionError, WaitError,
    },
};
use serde::{Deserialize, Serialize, Serializer, ser};

const CAUSE: &str = "the nested cause";

#[derive(Debug)]
struct Cause;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CAUSE)
    }
}

impl Error for Cause {}

fn cause() -> Box<dyn Error + Send + Sync> {
    Box::new(Cause)
}

fn json() -> serde_json::Error {
    ser::Error::custom(CAUSE)
}

/// Has no form in JSON.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(ser::Error::custom(CAUSE))
    }
}

fn location() -> String {
    "bank.db".to_owned()
}

fn store_errors() -> Vec<EventStoreError> {
    let location = location();
    vec![
        EventStoreError::Busy { source: cause() },
        EventStoreError::Unavailable { source: cause() },
        EventStoreError::OutcomeUnknown { source: cause() },
        EventStoreError::StorageFull { source: cause() },
        EventStoreError::StorageFailed { source: cause() },
        EventStoreError::StorageMoved {
            location: location.clone(),
            source: cause(),
        },
        EventStoreError::ReadOnly {
            location,
            source: cause(),
        },
        EventStoreError::Other {
            source: Box::new(EventStoreError::Busy { source: cause() }),
        },
    ]
}

fn decode() -> DecodeError {
    DecodeError::InvalidPayload {
        type_name: "Opened".to_owned(),
        source: json(),
    }
}

fn feed_error(cause: FeedErrorCause) -> FeedError {
    FeedError {
        position: Position::new(7),
        stream: StreamId::new("account-1").unwrap(),
        version: Version::new(1),
        type_name: Arc::from("Opened"),
        cause,
    }
}

/// Every public error with a source, outside of commands.
fn errors() -> Vec<Box<dyn Error>> {
    let mut errors: Vec<Box<dyn Error>> = vec![
        Box::new(decode()),
        Box::new(EncodeError::NotReadable(decode())),
        Box::new(EncodeError::Serialize(json())),
        Box::new(
            IdempotencyKey::new("key")
                .unwrap()
                .for_request(&Unwritable)
                .unwrap_err(),
        ),
        Box::new(FeedErrorCause::Event(decode())),
        Box::new(feed_error(decode().into())),
        Box::new(ProjectionError::Event {
            projection: "balances",
            position: Position::new(7),
            stream: StreamId::new("account-1").unwrap(),
            type_name: Arc::from("Opened"),
            attempts: 3,
            source: Box::new(feed_error(decode().into())),
        }),
        Box::new(ProjectionError::Prepare {
            projection: "balances",
            source: cause(),
        }),
        Box::new(CommandError::BusinessRuleViolation(Cause)),
        Box::new(CommandError::<Cause>::UnreadableEvent {
            stream: StreamId::new("account-1").unwrap(),
            version: Version::new(1),
            position: Position::new(7),
            type_name: "Opened".to_owned(),
            source: decode(),
        }),
        Box::new(CommandError::<Cause>::UnstorableEvent {
            field: "account",
            stream: StreamId::new("account-1").unwrap(),
            type_name: "Opened",
            source: EncodeError::Serialize(json()),
        }),
        Box::new(DeclarationError::InvalidStreamId {
            field: "account",
            source: StreamIdError::InvalidText {
                category: "account",
                reason: CAUSE.to_owned(),
            },
        }),
        Box::new(LoadError::UnreadableEvent {
            stream: StreamId::new("account-1").unwrap(),
            version: Version::new(1),
            position: Position::new(7),
            type_name: "Opened".to_owned(),
            source: decode(),
        }),
    ];
    for error in store_errors() {
        errors.push(Box::new(error));
    }
    let wrapped: [fn(EventStoreError) -> Box<dyn Error>; 9] = [
        |error| Box::new(CommandError::<Cause>::EventStoreError(error)),
        |error| Box::new(CommandError::<Cause>::OutcomeUnknown { source: error }),
        |error| Box::new(LoadError::EventStoreError(error)),
        |error| Box::new(ProjectionError::Store(error)),
        |error| Box::new(ProjectionError::Subscription(error.into())),
        |error| Box::new(SubscriptionError::Store(error)),
        |error| Box::new(LeaseError::Refused(error)),
        |error| Box::new(LeaseError::Database(error)),
        |error| Box::new(WaitError::Store(error)),
    ];
    for wrap in wrapped {
        errors.extend(store_errors().into_iter().map(wrap));
    }
    errors
}

/// The texts of an error and of its sources.
fn texts(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut source = error.source();
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts
}

#[test]
fn no_error_repeats_its_source() {
    for error in errors() {
        let texts = texts(&*error);
        for pair in texts.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{texts:#?}");
        }
        let named = texts.iter().filter(|text| text.contains(CAUSE)).count();
        assert_eq!(named, 1, "{texts:#?}");
    }
}

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened { owner: String },
}

#[derive(Debug, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(u64);

/// Errors as they arise, not as a test builds them.
#[test]
fn an_event_that_cannot_be_decoded_says_why_once() {
    let payload = br#"{"owner":7}"#;
    let event = |stream: &str| eventcore::RecordedEvent {
        position: Position::new(7),
        stream: StreamId::new(stream).unwrap(),
        version: Version::new(1),
        event_id: CommitId::generate().event(0),
        type_name: Arc::from("AccountOpened"),
        recorded_at: SystemTime::now(),
        payload: payload.to_vec().into(),
        metadata: Metadata::default(),
    };
    for (stream, reason) in [
        ("account-1", "expected a string"),
        ("account-x", "invalid digit"),
        ("order-1", "`order-1`"),
    ] {
        let error = event(stream).keyed::<AccountId>().unwrap_err();
        let texts = texts(&error);
        let last = texts.last().unwrap();
        assert!(last.contains(reason), "{texts:#?}");
        for pair in texts.windows(2) {
            assert!(!pair[0].contains(&pair[1]), "{texts:#?}");
        }
    }
}
