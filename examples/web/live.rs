//! The live feed of server-sent events. The id of each is its position, so that a browser that reconnects resumes where it
//! stopped.

use std::{convert::Infallible, sync::Arc};

use axum::{
    extract::{Query, State},
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use eventcore::{
    EventFilter, EventSelector, Position, RecordedEvent, StreamKey,
    projection::{SubscriptionError, subscribe},
};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{api::Bank, domain::AccountId};

#[derive(Deserialize)]
pub struct From {
    /// The position to start after; a browser that reconnects sends `Last-Event-ID` instead.
    #[serde(default)]
    after: u64,
}

pub async fn events(
    State(bank): State<Arc<Bank>>,
    Query(From { after }): Query<From>,
    headers: HeaderMap,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok()?.parse().ok());
    let from = Position::new(last.unwrap_or(after));
    let accounts = EventFilter::any_of([EventSelector::category(AccountId::CATEGORY)]);
    let mut stopped = bank.stopped.clone();
    let events = subscribe(bank.store.clone(), from, accounts)
        .take_until(async move { while stopped.changed().await.is_ok() {} })
        .map(|event| Ok(message(event)));
    Sse::new(events).keep_alive(KeepAlive::default())
}

fn message(event: Result<RecordedEvent, SubscriptionError>) -> Event {
    match event {
        Ok(event) => {
            let payload: Option<&RawValue> = serde_json::from_slice(&event.payload).ok();
            let body = json!({
                "position": event.position.get(),
                "account": event.stream.key(),
                "type": &*event.type_name,
                "payload": payload,
            });
            Event::default()
                .id(event.position.to_string())
                .data(body.to_string())
        }
        Err(error) => Event::default().event("failure").data(error.to_string()),
    }
}
