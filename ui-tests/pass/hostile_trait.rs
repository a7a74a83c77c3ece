//! A trait with methods of all names that generated code could call takes no call away from it.

use eventcore::{
    Command, CommandLogic, Event, EventFilter, EventStore, Position, RetryPolicy, StreamId, StreamResolver, execute,
    memory::MemoryEventStore, EventFeed, store::ReadFeedRequest,
};
use serde::{Deserialize, Serialize};
use ui_tests::{AccountEvent, AccountId, LimitsEvent, LimitsId, OrderEvent, OrderId, Refused};

/// Called by method syntax, each of these comes before a method of the type that takes `&self`.
macro_rules! hostile {
    ($($method:ident)*) => {
        trait Hostile: Sized {
            $(fn $method(self) -> Hijacked {
                unreachable!()
            })*
        }
    };
}

struct Hijacked;

hostile! {
    declare declare_read_only declare_raw declare_raw_read_only next next_raw field decode decode_raw undeclared map
    map_err contains category event_type keyed type_name encode key parse_key stream_id from_stream_id to_owned to_string
    as_ref into from from_str eq ne fmt default clone serialize deserialize discover discover_related_streams
    streams event apply handle any_of not_in_feed state_options cloned snapshots every take finish state
}

impl<T> Hostile for T {}

#[derive(Serialize, Deserialize)]
struct NotedV1 {
    text: String,
}

impl NotedV1 {
    fn upgrade(self) -> NoteEvent {
        NoteEvent::Noted { text: self.text }
    }
}

mod old {
    use super::*;

    impl eventcore::Event for NotedV1 {
        const TYPE_NAMES: &'static [&'static str] = &["NoteNoted.v1"];

        fn type_name(&self) -> &'static str {
            "NoteNoted.v1"
        }

        fn encode(&self, payload: &mut eventcore::PayloadWriter<'_>) -> Result<(), eventcore::EncodeError> {
            eventcore::PayloadWriter::serialize(payload, self)
        }

        fn decode(_: &str, payload: &[u8]) -> Result<Self, eventcore::DecodeError> {
            match serde_json_from(payload) {
                Some(text) => Ok(Self { text }),
                None => Err(eventcore::DecodeError::UnknownType { type_name: String::new(), known: &[] }),
            }
        }
    }

    fn serde_json_from(payload: &[u8]) -> Option<String> {
        let text = str::from_utf8(payload).ok()?;
        Some(text.split('"').nth(3)?.into_boxed_str_())
    }

    trait Boxed {
        fn into_boxed_str_(&self) -> String;
    }

    impl Boxed for &str {
        fn into_boxed_str_(&self) -> String {
            String::from_iter([*self])
        }
    }
}

#[derive(Serialize, Deserialize, Event)]
#[event(upcast(from = NotedV1, with = NotedV1::upgrade))]
enum NoteEvent {
    Noted { text: String },
}

#[derive(Serialize, Deserialize, Event)]
struct Flagged {
    by: u64,
}

#[derive(eventcore::StreamKey)]
#[stream_key(category = "note", event = NoteEvent)]
struct NoteId(u64);

#[derive(eventcore::StreamKey)]
#[stream_key(category = "flag", event = Flagged)]
struct FlagId {
    number: u64,
}

#[derive(Command)]
#[command(event = NoteHappened, discovers(order: Option<OrderId>, #[stream(read)] limits: Vec<LimitsId>))]
struct Note {
    #[stream]
    note: NoteId,
    #[stream(read)]
    account: Option<AccountId>,
    #[stream(event = Flagged)]
    flag: StreamId,
    #[stream(read, event = AccountEvent)]
    others: Vec<StreamId>,
}

impl CommandLogic for Note {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), event: NoteHappened<'_>) {
        match event {
            NoteHappened::Note(NoteEvent::Noted { .. })
            | NoteHappened::Account(AccountEvent::Deposited { .. } | AccountEvent::Withdrawn { .. })
            | NoteHappened::Flag(Flagged { .. })
            | NoteHappened::Others((_, _))
            | NoteHappened::Order(OrderEvent::Placed)
            | NoteHappened::Limits((_, LimitsEvent::Set { .. })) => {}
        }
    }

    fn handle(&self, (): &(), streams: NoteStreams<'_>) -> Result<(), Refused> {
        streams.note.append(NoteEvent::Noted { text: String::from_iter(["a"]) });
        streams.flag.append(Flagged { by: 1 });
        if let Some(order) = streams.order {
            order.append(OrderEvent::Placed);
        }
        Ok(())
    }
}

impl StreamResolver for Note {
    fn discover_related_streams(&self, (): &(), _: NoteKnownStreams<'_>) -> NoteDiscovered {
        NoteDiscovered { order: Some(OrderId(7)), limits: vec![LimitsId(1), LimitsId(2)] }
    }
}

/// A generic command.
#[derive(Command)]
struct Keep<K: eventcore::StreamKey + 'static> {
    #[stream]
    kept: K,
}

impl<K: eventcore::StreamKey + 'static> CommandLogic for Keep<K> {
    type State = u64;
    type Error = Refused;

    fn apply(&self, count: &mut u64, _: KeepEvent<'_, K>) {
        *count += 1;
    }

    fn handle(&self, _: &u64, _: KeepStreams<'_, K>) -> Result<(), Refused> {
        Ok(())
    }
}

#[derive(eventcore::EventFeed)]
enum Everything {
    Note(NoteId, NoteEvent),
    #[event_feed(only("Flagged"))]
    Flag(FlagId, Flagged),
    Order(OrderId, OrderEvent),
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryEventStore::new();
    for _ in 0..2 {
        let command = Note {
            note: NoteId(1),
            account: None,
            flag: StreamId::new("flag-1").unwrap(),
            others: vec![StreamId::new("account-9").unwrap()],
        };
        execute(&store, command, RetryPolicy::new()).await.unwrap();
        execute(&store, Keep { kept: NoteId(1) }, RetryPolicy::new()).await.unwrap();
    }
    let request = ReadFeedRequest { after: Position::START, filter: EventFilter::All, limit: 100 };
    let page = EventStore::read_feed(&store, request).await.unwrap();
    assert_eq!(page.events.len(), 6);
    assert!(matches!(<Everything as EventFeed>::filter(), EventFilter::AnyOf(_)));
    for event in &page.events {
        assert!(<Everything as EventFeed>::decode(event).is_ok());
    }
    let old = <NoteEvent as Event>::decode("NoteNoted.v1", br#"{"text":"b"}"#).unwrap();
    let NoteEvent::Noted { text } = old;
    assert!(matches!(text.as_str(), "b"));
    assert!(<NoteId as eventcore::StreamKey>::parse_key("x").is_err());
}
