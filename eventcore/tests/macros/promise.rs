//! The promise against code that goes around the derives: whatever a hand-written command, key or event does, nothing is
//! written to a stream that is not declared for writing, of another type than its stream takes, or that cannot be read.
#![cfg(feature = "macros")]
#![allow(clippy::unwrap_used)]

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    convert::Infallible,
    fmt,
    time::Duration,
};

use eventcore::{
    Command, CommandError, CommandLogic, CommandStreams, CommitId, DeclarationError, DecodeError,
    EncodeError, Event, EventFilter, EventStore, EventStoreError, ExecuteOptions, PayloadWriter,
    Position, RetryPolicy, StreamId, StreamIdError, StreamKey, StreamResolver, Version,
    VersionConflict,
    command::{
        HandleMismatch, ReadOnly, StreamHandle, StreamHandles,
        codegen::{Declarations, FieldRecord, Handles},
    },
    execute,
    execute::{ExecutePipeline, Step},
    memory::MemoryEventStore,
    store::{ReadFeedRequest, StreamExtent, StreamPage},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::IgnoredAny, ser::SerializeMap};

#[derive(Debug, Serialize, Deserialize, Event)]
struct Paid {
    amount: u64,
}

#[derive(Debug, Serialize, Deserialize, Event)]
struct Placed {}

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "account", event = Paid)]
struct AccountId(u64);

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "order", event = Placed)]
struct OrderId(u64);

/// Every event of the store, with its stream.
async fn written(store: &MemoryEventStore) -> Vec<String> {
    let request = ReadFeedRequest {
        after: Position::START,
        filter: EventFilter::All,
        limit: 100,
    };
    let events = store.read_feed(request).await.unwrap().events;
    events
        .iter()
        .map(|event| format!("{} {}", event.stream, event.type_name))
        .collect()
}

/// Executes a command that must fail, and must have written nothing.
async fn refused<C: CommandLogic>(command: C) -> CommandError<C::Error> {
    let store = MemoryEventStore::new();
    let result = execute(&store, command, RetryPolicy::new()).await;
    assert_eq!(written(&store).await, Vec::<String>::new());
    match result {
        Err(error) => error,
        Ok(_) => panic!("the command was executed"),
    }
}

mod hand_written {
    use super::*;

    struct Keys {
        a: AccountId,
        b: AccountId,
        order: OrderId,
        one: Vec<AccountId>,
        two: Vec<AccountId>,
        raw: StreamId,
    }

    impl Keys {
        fn new() -> Self {
            Self {
                a: AccountId(1),
                b: AccountId(2),
                order: OrderId(3),
                one: vec![AccountId(4)],
                two: vec![AccountId(4), AccountId(5)],
                raw: StreamId::new("account-6").unwrap(),
            }
        }
    }

    /// The handles that a case takes.
    #[derive(Default)]
    struct Taken<'a> {
        accounts: Vec<StreamHandle<'a, AccountId>>,
        many: Option<StreamHandles<'a, AccountId>>,
        orders: Vec<StreamHandle<'a, OrderId>>,
        raw: Option<StreamHandle<'a, eventcore::command::codegen::Raw<Placed>>>,
    }

    struct Case {
        keys: Keys,
        declare: fn(&Keys, &mut Declarations),
        streams: for<'a> fn(&'a Keys, &mut Handles<'a>) -> Taken<'a>,
    }

    impl CommandStreams for Case {
        type Streams<'a> = Taken<'a>;
        type Event<'a> = ();
        type Discovered = ();
        type KnownStreams<'a> = ();

        fn declare(&self, streams: &mut Declarations) {
            (self.declare)(&self.keys, streams);
        }

        fn streams<'a>(&'a self, (): &'a (), handles: &mut Handles<'a>) -> Taken<'a> {
            (self.streams)(&self.keys, handles)
        }

        fn event<'a>(&'a self, (): &'a (), _: FieldRecord<'a>) -> Result<(), DecodeError> {
            Ok(())
        }
    }

    impl CommandLogic for Case {
        type State = ();
        type Error = &'static str;

        fn apply(&self, (): &mut (), (): ()) {}

        fn handle(&self, (): &(), taken: Taken<'_>) -> Result<(), &'static str> {
            for account in taken.accounts {
                account.append(Paid { amount: 1 });
            }
            for (_, account) in taken.many.into_iter().flatten() {
                account.append(Paid { amount: 2 });
            }
            for order in taken.orders {
                order.append(Placed {});
            }
            if let Some(raw) = taken.raw {
                raw.append(Placed {});
            }
            Ok(())
        }
    }

    #[tokio::test]
    #[allow(clippy::too_many_lines, reason = "a table of cases")]
    async fn handles_that_are_not_those_of_the_declarations_are_refused() {
        use HandleMismatch as M;
        type Declare = fn(&Keys, &mut Declarations);
        type Streams = for<'a> fn(&'a Keys, &mut Handles<'a>) -> Taken<'a>;
        let cases: Vec<(Declare, Streams, M)> = vec![
            (
                |keys, streams| {
                    streams.declare("a", &keys.a);
                    streams.declare("b", &keys.b);
                },
                |keys, handles| Taken {
                    accounts: vec![handles.next("b", &keys.b), handles.next("a", &keys.a)],
                    ..Taken::default()
                },
                M::OtherField {
                    field: "b",
                    declared: "a",
                },
            ),
            (
                |keys, streams| streams.declare("order", &keys.order),
                |keys, handles| Taken {
                    accounts: vec![handles.next("order", &keys.a)],
                    ..Taken::default()
                },
                M::OtherKey { field: "order" },
            ),
            (
                |keys, streams| streams.declare_raw::<Paid, (), _>("raw", &keys.raw),
                |keys, handles| Taken {
                    raw: Some(handles.next_raw::<Placed, (), _, _>("raw", &keys.raw)),
                    ..Taken::default()
                },
                M::OtherKey { field: "raw" },
            ),
            (
                |keys, streams| streams.declare_read_only("a", &keys.a),
                |keys, handles| Taken {
                    accounts: vec![handles.next("a", &keys.a)],
                    ..Taken::default()
                },
                M::OtherAccess { field: "a" },
            ),
            (
                |keys, streams| streams.declare("a", &keys.a),
                |keys, handles| {
                    let _ = handles.next::<_, ReadOnly>("a", &keys.a);
                    Taken::default()
                },
                M::OtherAccess { field: "a" },
            ),
            (
                |keys, streams| streams.declare("a", &keys.a),
                |keys, handles| Taken {
                    accounts: vec![handles.next("a", &keys.a), handles.next("b", &keys.b)],
                    ..Taken::default()
                },
                M::TooMany { field: "b" },
            ),
            (
                |keys, streams| {
                    streams.declare("a", &keys.a);
                    streams.declare("b", &keys.b);
                },
                |keys, handles| Taken {
                    accounts: vec![handles.next("a", &keys.a)],
                    ..Taken::default()
                },
                M::TooFew { field: "b" },
            ),
            (
                |keys, streams| {
                    streams.declare("many", &keys.two);
                    streams.declare("a", &keys.a);
                },
                |keys, handles| Taken {
                    many: Some(handles.next("many", &keys.one)),
                    accounts: vec![handles.next("a", &keys.a)],
                    ..Taken::default()
                },
                M::TooFew { field: "many" },
            ),
            (
                |keys, streams| {
                    streams.declare("same", &keys.one);
                    streams.declare("same", &keys.a);
                },
                |keys, handles| Taken {
                    many: Some(handles.next("same", &keys.two)),
                    ..Taken::default()
                },
                M::TooMany { field: "same" },
            ),
            (
                |keys, streams| {
                    streams.declare("a", &keys.a);
                    *streams = Declarations::default();
                },
                |keys, handles| Taken {
                    accounts: vec![handles.next("a", &keys.a)],
                    ..Taken::default()
                },
                M::TooMany { field: "a" },
            ),
        ];
        for (declare, streams, expected) in cases {
            let command = Case {
                keys: Keys::new(),
                declare,
                streams,
            };
            match refused(command).await {
                CommandError::HandleMismatch(mismatch) => assert_eq!(mismatch, expected),
                other => panic!("{expected:?}: {other}"),
            }
        }
    }

    #[tokio::test]
    async fn handles_of_the_declarations_write_where_they_say() {
        let command = Case {
            keys: Keys::new(),
            declare: |keys, streams| {
                streams.declare("a", &keys.a);
                streams.declare_read_only("b", &keys.b);
                streams.declare("none", &None::<AccountId>);
                streams.declare("many", &keys.two);
                streams.declare("order", &keys.order);
            },
            streams: |keys, handles| {
                let a = handles.next("a", &keys.a);
                let _ = handles.next::<_, ReadOnly>("b", &keys.b);
                let _ = handles.next::<_, ReadOnly>("none", &None::<AccountId>);
                Taken {
                    accounts: vec![a],
                    many: Some(handles.next("many", &keys.two)),
                    orders: vec![handles.next("order", &keys.order)],
                    raw: None,
                }
            },
        };
        let store = MemoryEventStore::new();
        execute(&store, command, RetryPolicy::new()).await.unwrap();
        assert_eq!(
            written(&store).await,
            [
                "account-1 Paid",
                "account-4 Paid",
                "account-5 Paid",
                "order-3 Placed"
            ]
        );
    }

    /// Declares less each time it is asked, or nothing of what it found.
    struct Forgetful {
        asked: Cell<usize>,
    }

    impl CommandStreams for Forgetful {
        type Streams<'a> = Vec<StreamHandle<'a, AccountId>>;
        type Event<'a> = ();
        type Discovered = Vec<AccountId>;
        type KnownStreams<'a> = ();
        const DISCOVERS: bool = true;

        fn declare(&self, streams: &mut Declarations) {
            if self.asked.replace(self.asked.get() + 1) == 0 {
                streams.declare("a", &AccountId(1));
                streams.declare("b", &AccountId(2));
            }
        }

        fn declare_discovered(found: &Vec<AccountId>, streams: &mut Declarations) {
            *streams = Declarations::default();
            streams.declare("found", found);
        }

        fn known_streams<'a>(
            &'a self,
            found: &'a Vec<AccountId>,
            handles: &mut Handles<'a>,
        ) -> Option<()> {
            static AB: [AccountId; 2] = [AccountId(1), AccountId(2)];
            let _: StreamHandle<'a, AccountId, ReadOnly> = handles.next("a", &AB[0]);
            let _: StreamHandle<'a, AccountId, ReadOnly> = handles.next("b", &AB[1]);
            let _: StreamHandles<'a, AccountId, ReadOnly> = handles.next("found", found);
            Some(())
        }

        fn discover(&self, (): &(), (): ()) -> Vec<AccountId> {
            vec![AccountId(3)]
        }

        fn streams<'a>(
            &'a self,
            found: &'a Vec<AccountId>,
            handles: &mut Handles<'a>,
        ) -> Self::Streams<'a> {
            static AB: [AccountId; 2] = [AccountId(1), AccountId(2)];
            let mut all = vec![handles.next("a", &AB[0]), handles.next("b", &AB[1])];
            let found: StreamHandles<'a, AccountId> = handles.next("found", found);
            all.extend(found.into_iter().map(|(_, handle)| handle));
            all
        }

        fn event<'a>(
            &'a self,
            _: &'a Vec<AccountId>,
            _: FieldRecord<'a>,
        ) -> Result<(), DecodeError> {
            Ok(())
        }
    }

    impl CommandLogic for Forgetful {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), (): ()) {}

        fn handle(&self, (): &(), streams: Self::Streams<'_>) -> Result<(), Infallible> {
            for (handle, amount) in streams.into_iter().zip(1..) {
                handle.append(Paid { amount });
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_command_is_asked_once_for_its_streams() {
        let store = MemoryEventStore::new();
        let command = Forgetful {
            asked: Cell::new(0),
        };
        execute(&store, command, RetryPolicy::new()).await.unwrap();
        assert_eq!(
            written(&store).await,
            ["account-1 Paid", "account-2 Paid", "account-3 Paid"]
        );
    }
}

mod keys {
    use super::*;

    /// Names account 1 when it is asked first, and then one account after another.
    struct Changing(Cell<u64>);

    impl StreamKey for Changing {
        type Event = Paid;
        type State = ();
        const CATEGORY: &'static str = "account";

        fn key(&self) -> impl fmt::Display {
            self.0.set(self.0.get() + 1);
            self.0.get()
        }

        fn parse_key(_: &str) -> Result<Self, String> {
            Err("never read".to_owned())
        }
    }

    #[derive(Command)]
    #[command(discovers(found: Option<AccountId>))]
    struct Pay {
        #[stream(read)]
        order: OrderId,
        #[stream]
        account: Changing,
        finds: u64,
    }

    impl CommandLogic for Pay {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), _: PayEvent<'_>) {}

        fn handle(&self, (): &(), streams: PayStreams<'_>) -> Result<(), Infallible> {
            streams.account.append(Paid { amount: 1 });
            if let Some(found) = streams.found {
                found.append(Paid { amount: 2 });
            }
            Ok(())
        }
    }

    impl StreamResolver for Pay {
        fn discover_related_streams(&self, (): &(), _: PayKnownStreams<'_>) -> PayDiscovered {
            PayDiscovered {
                found: Some(AccountId(self.finds)),
            }
        }
    }

    fn pay(finds: u64) -> Pay {
        Pay {
            order: OrderId(1),
            account: Changing(Cell::new(0)),
            finds,
        }
    }

    /// Asked again, the key would name another stream, and the discovered one would take the place of its own.
    #[tokio::test]
    async fn a_discovered_stream_does_not_take_the_place_of_a_declared_one() {
        match refused(pay(1)).await {
            CommandError::Declaration(DeclarationError::DuplicateStream {
                first, second, ..
            }) => assert_eq!((first, second), ("account", "found")),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_key_that_changes_names_the_stream_that_it_named_first() {
        let store = MemoryEventStore::new();
        execute(&store, pay(2), RetryPolicy::new()).await.unwrap();
        assert_eq!(written(&store).await, ["account-1 Paid", "account-2 Paid"]);
    }

    /// The streams that the next read asks for, answered with streams without events.
    fn read<C: CommandLogic>(step: Step<C>) -> (Vec<String>, Step<C>) {
        let Step::ReadStreams(read) = step else {
            panic!("it does not read");
        };
        let cursors = &read.request().streams;
        let streams = cursors.iter().map(|cursor| cursor.stream.to_string());
        let streams: Vec<_> = streams.collect();
        let page = StreamPage {
            streams: vec![StreamExtent::default(); streams.len()],
            events: vec![],
            snapshot: Position::START,
            already_committed: None,
        };
        (streams, read.resume(Ok(page), Duration::ZERO))
    }

    #[test]
    fn an_attempt_after_a_conflict_reads_the_streams_that_were_declared_first() {
        let command = ExecutePipeline::new(pay(2), ExecuteOptions::new(), CommitId::generate());
        let (declared, step) = read(command.start());
        assert_eq!(declared, ["order-1", "account-1"]);
        let (_, step) = read(step);
        let Step::Append(append) = step else {
            panic!("it does not append");
        };
        let conflict = EventStoreError::VersionConflict(VersionConflict {
            stream: StreamId::new("account-1").unwrap(),
            expected: Version::EMPTY,
            actual: Version::new(1),
        });
        let Step::Sleep(sleep) = append.resume(Err(conflict), Duration::ZERO) else {
            panic!("it does not retry");
        };
        assert_eq!(read(sleep.resume()).0, declared);
    }

    /// A key of accounts that names an order.
    struct Straying;

    impl StreamKey for Straying {
        type Event = Paid;
        type State = ();
        const CATEGORY: &'static str = "account";

        fn key(&self) -> impl fmt::Display {
            1
        }

        fn parse_key(_: &str) -> Result<Self, String> {
            Ok(Self)
        }

        fn stream_id(&self) -> Result<StreamId, StreamIdError> {
            StreamId::new("order-1")
        }
    }

    /// A key without text.
    struct Silent;

    impl StreamKey for Silent {
        type Event = Paid;
        type State = ();
        const CATEGORY: &'static str = "account";

        fn key(&self) -> impl fmt::Display {
            struct Failing;
            impl fmt::Display for Failing {
                fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                    Err(fmt::Error)
                }
            }
            Failing
        }

        fn parse_key(_: &str) -> Result<Self, String> {
            Ok(Self)
        }
    }

    #[derive(Command)]
    struct PayInto<K: StreamKey<Event = Paid>> {
        #[stream]
        accounts: Vec<K>,
    }

    impl<K: StreamKey<Event = Paid>> CommandLogic for PayInto<K> {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), _: PayIntoEvent<'_, K>) {}

        fn handle(&self, (): &(), streams: PayIntoStreams<'_, K>) -> Result<(), Infallible> {
            for (_, account) in &streams.accounts {
                account.append(Paid { amount: 1 });
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_key_that_leaves_its_category_is_refused() {
        let command = PayInto {
            accounts: vec![Straying],
        };
        match refused(command).await {
            CommandError::Declaration(DeclarationError::InvalidStreamId {
                field: "accounts",
                source: StreamIdError::OtherCategory { id, expected },
            }) => assert_eq!((id.as_str(), expected), ("order-1", "account")),
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_key_whose_display_fails_is_refused() {
        let command = PayInto {
            accounts: vec![Silent],
        };
        match refused(command).await {
            CommandError::Declaration(DeclarationError::InvalidStreamId {
                field: "accounts",
                source: StreamIdError::KeyWithoutText { category },
            }) => assert_eq!(category, "account"),
            other => panic!("{other}"),
        }
    }
}

mod events {
    use super::*;

    /// A raw stream that takes whatever event type a test makes.
    #[derive(Command)]
    struct Append<E: Event> {
        #[stream]
        account: AccountId,
        #[stream(event = E)]
        raw: StreamId,
        events: RefCell<Vec<E>>,
    }

    impl<E: Event> CommandLogic for Append<E> {
        type State = ();
        type Error = Infallible;

        fn apply(&self, (): &mut (), _: AppendEvent<'_, E>) {}

        fn handle(&self, (): &(), streams: AppendStreams<'_, E>) -> Result<(), Infallible> {
            streams.account.append(Paid { amount: 5 });
            for event in self.events.take() {
                streams.raw.append(event);
            }
            streams.account.append(Paid { amount: 6 });
            Ok(())
        }
    }

    fn append<E: Event>(event: E) -> Append<E> {
        Append {
            account: AccountId(1),
            raw: StreamId::new("raw-1").unwrap(),
            events: RefCell::new(vec![event]),
        }
    }

    /// The error of the event.
    async fn unstorable<E: Event>(event: E) -> EncodeError {
        match refused(append(event)).await {
            CommandError::UnstorableEvent { field, source, .. } => {
                assert_eq!(field, "raw");
                source
            }
            other => panic!("{other}"),
        }
    }

    /// Writes its payload by hand, and reads whatever there is.
    struct ByHand {
        type_name: fn(&Cell<usize>) -> &'static str,
        asked: Cell<usize>,
        encode: fn(&mut PayloadWriter<'_>) -> Result<(), EncodeError>,
    }

    impl ByHand {
        fn encode(encode: fn(&mut PayloadWriter<'_>) -> Result<(), EncodeError>) -> Self {
            Self {
                type_name: |_| "ByHand",
                asked: Cell::new(0),
                encode,
            }
        }

        fn named(type_name: fn(&Cell<usize>) -> &'static str) -> Self {
            Self {
                type_name,
                asked: Cell::new(0),
                encode: |payload| payload.json("{}"),
            }
        }
    }

    impl Event for ByHand {
        const TYPE_NAMES: &'static [&'static str] = &["ByHand"];

        fn type_name(&self) -> &'static str {
            (self.type_name)(&self.asked)
        }

        fn encode(&self, payload: &mut PayloadWriter<'_>) -> Result<(), EncodeError> {
            (self.encode)(payload)
        }

        fn decode(type_name: &str, _: &[u8]) -> Result<Self, DecodeError> {
            if type_name == "Paid" {
                let known = Self::TYPE_NAMES;
                let type_name = type_name.to_owned();
                return Err(DecodeError::UnknownType { type_name, known });
            }
            Ok(Self::named(|_| "ByHand"))
        }
    }

    #[tokio::test]
    async fn a_payload_that_is_not_one_json_value_is_refused() {
        type Encode = fn(&mut PayloadWriter<'_>) -> Result<(), EncodeError>;
        let cases: &[Encode] = &[
            |_| Ok(()),
            |payload| payload.json(""),
            |payload| payload.json("{} {}"),
            |payload| payload.json("{"),
            |payload| payload.json("\n\u{5}hello"),
            |payload| payload.json("\"\\ud800\""),
            |payload| payload.json("1e999"),
            |payload| payload.json(&"[".repeat(100_000)),
            |payload| {
                payload.json("1")?;
                payload.json("2")
            },
            |payload| {
                payload.json("1")?;
                let _ = payload.serialize(&2);
                Ok(())
            },
            |payload| {
                let _ = payload.json("{");
                Ok(())
            },
        ];
        for encode in cases {
            match unstorable(ByHand::encode(*encode)).await {
                EncodeError::NotJson { .. } => {}
                other => panic!("{other}"),
            }
        }
    }

    #[tokio::test]
    async fn a_second_try_is_what_is_stored() {
        let store = MemoryEventStore::new();
        let event = ByHand::encode(|payload| {
            let _ = payload.serialize(&f64::NAN);
            let _ = payload.serialize(&vec![1.0, f64::NAN]);
            payload.json(" [1] ")
        });
        execute(&store, append(event), RetryPolicy::new())
            .await
            .unwrap();
        let request = ReadFeedRequest {
            after: Position::START,
            filter: EventFilter::All,
            limit: 100,
        };
        let events = store.read_feed(request).await.unwrap().events;
        let payloads: Vec<_> = events.iter().map(|event| &event.payload[..]).collect();
        assert_eq!(
            payloads,
            [&b"{\"amount\":5}"[..], b" [1] ", b"{\"amount\":6}"]
        );
    }

    #[tokio::test]
    async fn a_name_that_changes_is_the_one_that_reads_the_payload_back() {
        let error = unstorable(ByHand::named(|asked| {
            asked.set(asked.get() + 1);
            ["Paid", "ByHand"][(asked.get() - 1) % 2]
        }));
        match error.await {
            EncodeError::NotReadable(DecodeError::UnknownType { type_name, .. }) => {
                assert_eq!(type_name, "Paid");
            }
            other => panic!("{other}"),
        }
    }

    #[tokio::test]
    async fn a_name_that_no_store_could_keep_is_refused() {
        for name in [
            (|_| "") as fn(&Cell<usize>) -> &'static str,
            |_| "By\0Hand",
            |_| "By\u{85}Hand",
            |_| Box::leak("x".repeat(256).into_boxed_str()),
        ] {
            match refused(append(ByHand::named(name))).await {
                CommandError::AppendError(eventcore::store::AppendError::TypeName { .. }) => {}
                other => panic!("{other}"),
            }
        }
    }

    /// A value whose `Serialize` breaks a rule.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Odd {
        KeyWithoutValue,
        ValueWithoutKey,
        PassesErrorsOver,
        NotEmptyAfterAll,
        NotAnEmptyStruct,
        NoDisplay,
        Fails,
    }

    impl Serialize for Odd {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Self::KeyWithoutValue => {
                    let mut map = serializer.serialize_map(None)?;
                    map.serialize_key("a")?;
                    map.end()
                }
                Self::ValueWithoutKey => {
                    let mut map = serializer.serialize_map(None)?;
                    map.serialize_value("a")?;
                    map.end()
                }
                Self::PassesErrorsOver => {
                    let mut map = serializer.serialize_map(None)?;
                    let _ = map.serialize_entry("a", &Self::Fails);
                    let _ = map.serialize_entry(&HashMap::from([(1, 2)]), "b");
                    map.end()
                }
                Self::NotEmptyAfterAll => {
                    let mut map = serializer.serialize_map(Some(0))?;
                    map.serialize_entry("a", "b")?;
                    map.end()
                }
                Self::NotAnEmptyStruct => {
                    use serde::ser::SerializeStruct;
                    let mut fields = serializer.serialize_struct("Odd", 0)?;
                    fields.serialize_field("a", "b")?;
                    fields.end()
                }
                Self::NoDisplay => {
                    struct Failing;
                    impl fmt::Display for Failing {
                        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str("half")?;
                            Err(fmt::Error)
                        }
                    }
                    serializer.collect_str(&Failing)
                }
                Self::Fails => Err(serde::ser::Error::custom("no")),
            }
        }
    }

    #[derive(Event)]
    struct Derived(Odd);

    impl Serialize for Derived {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([("odd", self.0)])
        }
    }

    impl<'de> Deserialize<'de> for Derived {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            IgnoredAny::deserialize(deserializer).map(|_| Self(Odd::Fails))
        }
    }

    #[tokio::test]
    async fn a_derived_event_whose_serialize_writes_no_json_is_refused() {
        for odd in [
            Odd::KeyWithoutValue,
            Odd::ValueWithoutKey,
            Odd::PassesErrorsOver,
            Odd::NotAnEmptyStruct,
            Odd::NoDisplay,
            Odd::Fails,
        ] {
            match unstorable(Derived(odd)).await {
                EncodeError::NotJson { .. } => {}
                EncodeError::Serialize(_) if matches!(odd, Odd::NoDisplay | Odd::Fails) => {}
                other => panic!("{odd:?}: {other}"),
            }
        }
        // The length was only a hint.
        let store = MemoryEventStore::new();
        let command = append(Derived(Odd::NotEmptyAfterAll));
        execute(&store, command, RetryPolicy::new()).await.unwrap();
    }
}
