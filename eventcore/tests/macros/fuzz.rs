//! Fuzz tests: no stream id is accepted and then differs, and no stored payload makes a reader panic.
//! `PROPTEST_CASES=1000000 cargo test -p eventcore --test macros fuzz` goes on for longer.

use std::collections::BTreeMap;

use eventcore::{Event, IdempotencyKey, MAX_STREAM_ID_CHARS, StreamId, StreamKey, store::NewEvent};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Every shape of serde's data model that an event can have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
enum Shape {
    Unit,
    Newtype(f64),
    Tuple(i8, u64, char),
    #[event(alias = "old.fields")]
    Fields {
        text: String,
        #[serde(default)]
        maybe: Option<Box<Inner>>,
        map: BTreeMap<u16, Vec<i64>>,
    },
    Nested(Inner),
    Any(serde_json::Value),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Inner {
    A,
    B(u32),
    C { deep: Vec<Inner> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize, Event)]
struct Struct {
    id: i128,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "any", event = Shape)]
struct Text(String);

#[derive(Debug, PartialEq, StreamKey)]
#[stream_key(category = "any", event = Shape)]
struct Number(i64);

/// Texts about the rules: separators, forbidden characters, and lengths around the limit, in characters of any width.
fn id_text() -> impl Strategy<Value = String> {
    let rough = prop::collection::vec(
        prop_oneof![
            4 => Just('-'),
            8 => "[a-z]".prop_map(|text| text.chars().next().unwrap_or('a')),
            1 => prop::sample::select(vec!['*', '?', '[', ']', '{', '}', '\0', '\n', '\u{7f}', '\u{85}', ' ', '/', '%']),
            2 => any::<char>(),
        ],
        0..12,
    );
    let long = (
        0..3_usize,
        prop::sample::select(vec!['x', 'é', '語', '🦀']),
        -2..3_isize,
    )
        .prop_map(|(before, wide, further)| {
            let count = (MAX_STREAM_ID_CHARS - before - 1).saturating_add_signed(further);
            format!("{}-{}", "c".repeat(before), wide.to_string().repeat(count))
        });
    prop_oneof![
        rough.prop_map(|chars| chars.into_iter().collect()),
        long,
        any::<String>(),
    ]
}

/// JSON and what is nearly JSON.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i128>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:e}")),
        Just("1e999".to_owned()),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap_or_default()),
        Just("\"\\ud800\"".to_owned()),
    ];
    let key = prop_oneof![
        prop::sample::select(vec![
            "text",
            "maybe",
            "map",
            "B",
            "C",
            "deep",
            "id",
            "7",
            "$serde_json::private::Number"
        ])
        .prop_map(str::to_owned),
        "[a-z]{0,3}",
    ];
    let value = leaf.prop_recursive(6, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((key.clone(), inner), 0..5).prop_map(|fields| {
                let field = |(key, value): &(String, String)| format!("{key:?}:{value}");
                format!(
                    "{{{}}}",
                    fields.iter().map(field).collect::<Vec<_>>().join(",")
                )
            }),
        ]
    });
    let cut =
        (value.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
            let mut bytes = text.into_bytes();
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let deep = (0..20_000_usize).prop_map(|depth| "[".repeat(depth).into_bytes());
    prop_oneof![
        6 => value.prop_map(String::into_bytes),
        3 => cut,
        1 => deep,
        1 => any::<Vec<u8>>(),
    ]
}

fn type_name() -> impl Strategy<Value = String> {
    let known = [Shape::TYPE_NAMES, Struct::TYPE_NAMES].concat();
    prop_oneof![9 => prop::sample::select(known).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A decoded event can be stored again, and is the same then.
fn decode<E: Event + PartialEq + std::fmt::Debug>(
    type_name: &str,
    payload: &[u8],
) -> Result<(), TestCaseError> {
    let Ok(event) = E::decode(type_name, payload) else {
        return Ok(());
    };
    // Too deep to be written, and still read: the two limits are one apart.
    if let Ok(again) = NewEvent::new(0, &event) {
        let read = E::decode(again.type_name, &again.payload);
        prop_assert_eq!(
            read.map_err(|error| TestCaseError::fail(error.to_string()))?,
            event
        );
    }
    Ok(())
}

/// Some seconds of cases, or as many as `PROPTEST_CASES` says.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 2_000;
    }
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_accepted_stream_id_is_what_it_says(text in id_text()) {
        let Ok(id) = StreamId::new(&text) else { return Ok(()) };
        prop_assert_eq!(id.as_str(), &text);
        prop_assert_eq!(format!("{}-{}", id.category(), id.key()), text.clone());
        prop_assert!(!id.category().is_empty() && !id.category().contains('-') && !id.key().is_empty());
        prop_assert!((3..=MAX_STREAM_ID_CHARS).contains(&text.chars().count()));
        let forbidden = |c: char| c.is_control() || "*?[]{}".contains(c);
        prop_assert!(!text.contains(forbidden));
        let json = serde_json::to_string(&id).unwrap();
        prop_assert_eq!(serde_json::from_str::<StreamId>(&json).unwrap(), id);
    }

    #[test]
    fn a_key_comes_back_from_its_stream_id(text in id_text(), number in any::<i64>()) {
        if let Ok(id) = Text(text.clone()).stream_id() {
            prop_assert_eq!(Text::from_stream_id(&id).unwrap(), Text(text));
        }
        let id = Number(number).stream_id().unwrap();
        prop_assert_eq!(Number::from_stream_id(&id).unwrap(), Number(number));
    }

    #[test]
    fn any_text_is_a_stream_of_a_key_or_an_error(text in id_text()) {
        if let Ok(id) = StreamId::new(format!("any-{text}")) {
            let _ = Number::from_stream_id(&id);
            prop_assert_eq!(Text::from_stream_id(&id).unwrap(), Text(text));
        }
    }

    #[test]
    fn an_idempotency_key_is_taken_as_it_is_or_refused(text in any::<String>()) {
        if let Ok(key) = IdempotencyKey::new(&text) {
            prop_assert_eq!(key.as_str(), &text);
            prop_assert!((1..=255).contains(&text.len()));
        }
    }

    #[test]
    fn no_stored_payload_makes_a_reader_panic(type_name in type_name(), payload in payload()) {
        decode::<Shape>(&type_name, &payload)?;
        decode::<Struct>(&type_name, &payload)?;
    }
}
