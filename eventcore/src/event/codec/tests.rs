//! Tests of round trips and of refused values.

use std::collections::{BTreeMap, HashMap};

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all_fields = "camelCase")]
enum Shape {
    Unit,
    Newtype(Number),
    List(Vec<u64>),
    Optional(Option<f64>),
    Tuple(u8, String),
    EmptyTuple(),
    Struct {
        first_name: String,
        age: Option<u8>,
    },
    Empty {},
    Flat {
        id: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u64>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Number {
    float: f64,
    small: f32,
    unsigned: u64,
    signed: i64,
    wide: i128,
}

fn json(value: &impl Serialize) -> Result<String, EncodeError> {
    let mut out = Vec::new();
    encode_fields("Shape", value, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

fn number(float: f64) -> Number {
    Number {
        float,
        small: f32::MIN_POSITIVE,
        unsigned: u64::MAX,
        signed: i64::MIN,
        wide: i128::MIN,
    }
}

#[test]
fn every_shape_is_its_own_fields_and_reads_back() {
    let all = [
        (0, Shape::Unit, "{}"),
        (2, Shape::List(vec![1, 2]), "[1,2]"),
        (3, Shape::Optional(None), "null"),
        (3, Shape::Optional(Some(0.5)), "0.5"),
        (4, Shape::Tuple(7, "é\n\u{0}".into()), r#"[7,"é\n\u0000"]"#),
        (5, Shape::EmptyTuple(), "[]"),
        (
            6,
            Shape::Struct {
                first_name: "Ada".into(),
                age: None,
            },
            r#"{"firstName":"Ada","age":null}"#,
        ),
        (7, Shape::Empty {}, "{}"),
        (
            8,
            Shape::Flat {
                id: 1,
                rest: BTreeMap::from([("b".into(), 2)]),
            },
            r#"{"id":1,"b":2}"#,
        ),
    ];
    for (variant, value, expected) in all {
        let written = json(&value).unwrap();
        assert_eq!(written, expected);
        assert_eq!(
            decode_variant::<Shape>("Shape", variant, written.as_bytes()).unwrap(),
            value
        );
    }
}

#[test]
fn numbers_come_back_bit_for_bit() {
    for float in [f64::MAX, f64::MIN, -0.0, 5e-324, 0.1 + 0.2, 1e300] {
        let value = Shape::Newtype(number(float));
        let read: Shape = decode_variant("Shape", 1, json(&value).unwrap().as_bytes()).unwrap();
        let Shape::Newtype(read) = read else {
            panic!("{read:?}")
        };
        assert_eq!(read.float.to_bits(), float.to_bits());
        assert_eq!(read, number(float));
    }
}

#[test]
fn what_is_not_finite_is_refused_wherever_it_stands() {
    #[derive(Serialize)]
    enum E {
        Option(Option<f64>),
        Map(HashMap<u8, f32>),
        Nested { rows: Vec<(u8, Option<Newtype>)> },
        Pair(u8, f64),
        Key(Pairs),
    }
    #[derive(Serialize)]
    struct Newtype(f64);
    struct Pairs;
    impl Serialize for Pairs {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map([(f64::NAN, 1)])
        }
    }
    let all = [
        E::Option(Some(f64::NAN)),
        E::Map(HashMap::from([(1, f32::INFINITY)])),
        E::Nested {
            rows: vec![(1, Some(Newtype(f64::NEG_INFINITY)))],
        },
        E::Pair(1, f64::NAN),
        E::Key(Pairs),
    ];
    for value in all {
        assert!(matches!(json(&value), Err(EncodeError::NotFinite { .. })));
    }
    assert!(matches!(
        encode_struct(&Newtype(f64::NAN), &mut Vec::new()),
        Err(EncodeError::NotFinite { .. })
    ));
}

#[test]
fn a_swallowed_refusal_is_one_all_the_same() {
    struct Swallows;
    impl Serialize for Swallows {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use ser::SerializeSeq;
            let mut list = serializer.serialize_seq(None)?;
            let _ = list.serialize_element(&f64::NAN);
            list.end()
        }
    }
    #[derive(Serialize)]
    enum E {
        V(Swallows),
    }
    assert!(matches!(
        json(&E::V(Swallows)),
        Err(EncodeError::NotFinite { .. })
    ));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Deep {
    Tree { child: Option<Box<Tree>> },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    child: Option<Box<Tree>>,
}

fn tree(levels: usize) -> Deep {
    let child = (1..levels).fold(None, |child, _| Some(Box::new(Tree { child })));
    Deep::Tree { child }
}

#[test]
fn nesting_goes_as_deep_as_the_reader_does() {
    for levels in [1, 126, 127] {
        let written = json(&tree(levels)).unwrap();
        assert_eq!(
            decode_variant::<Deep>("Deep", 0, written.as_bytes()).unwrap(),
            tree(levels)
        );
    }
    for levels in [128, 5_000] {
        assert!(
            matches!(json(&tree(levels)), Err(EncodeError::TooDeep { max: 127 })),
            "{levels}"
        );
    }
}

#[test]
fn nested_enums_count_every_level_of_json() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Cons {
        End,
        New(Box<Cons>),
        Tuple(u8, Box<Cons>),
        Struct { next: Box<Cons> },
    }
    let nest = |levels, wrap: fn(Box<Cons>) -> Cons| {
        (0..levels).fold(Cons::End, |inner, _| wrap(Box::new(inner)))
    };
    for (levels, wrap) in [
        (127, Cons::New as fn(_) -> _),
        (63, |next| Cons::Tuple(1, next)),
        (63, |next| Cons::Struct { next }),
    ] {
        let mut out = Vec::new();
        encode_struct(&nest(levels, wrap), &mut out).unwrap();
        assert_eq!(
            decode_struct::<Cons>("Cons", &out).unwrap(),
            nest(levels, wrap)
        );
        assert!(matches!(
            encode_struct(&nest(levels + 1, wrap), &mut out),
            Err(EncodeError::TooDeep { .. })
        ));
    }
}

#[test]
fn nesting_that_json_does_not_show_cannot_overflow_the_stack() {
    #[derive(Serialize)]
    struct Onion(Option<Box<Onion>>);
    #[derive(Serialize)]
    enum E {
        Onion(Onion),
    }
    let mut onion = (0..20_000).fold(Onion(None), |inner, _| Onion(Some(Box::new(inner))));
    let event = E::Onion(onion);
    assert!(matches!(json(&event), Err(EncodeError::TooDeep { .. })));
    // Dropping the value recursively would overflow the stack.
    let E::Onion(inner) = event;
    onion = inner;
    while let Some(inner) = onion.0.take() {
        onion = *inner;
    }
}

#[test]
fn an_oversized_payload_is_refused_before_it_is_buffered() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat_n("0123456789", 30 * 1024 * 1024))
        }
    }
    #[derive(Serialize)]
    enum E {
        Lazy(Endless),
        Text { text: String },
        List(Vec<String>),
    }
    let huge = "x".repeat(300 * 1024 * 1024);
    for event in [
        E::Lazy(Endless),
        E::Text { text: huge },
        E::List(vec![" \n".repeat(MAX_EVENT_BYTES / 3)]),
    ] {
        let mut out = Vec::new();
        let error = encode_fields("E", &event, &mut out).unwrap_err();
        assert!(
            matches!(
                error,
                EncodeError::TooLarge {
                    max: MAX_EVENT_BYTES
                }
            ),
            "{error}"
        );
        assert!(out.capacity() <= 2 * MAX_EVENT_BYTES);
    }
    let mut out = b"what stands before does not count".repeat(MAX_EVENT_BYTES / 32);
    encode_fields(
        "E",
        &E::Text {
            text: "x".repeat(MAX_EVENT_BYTES - 11),
        },
        &mut out,
    )
    .unwrap();
    assert!(
        encode_fields(
            "E",
            &E::Text {
                text: "x".repeat(MAX_EVENT_BYTES - 10)
            },
            &mut out
        )
        .is_err()
    );
}

#[test]
fn what_is_no_variant_is_refused() {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Untagged {
        V { a: u8 },
    }
    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Tagged {
        V,
    }
    assert!(matches!(
        json(&Untagged::V { a: 1 }),
        Err(EncodeError::NotAVariant { type_name: "Shape" })
    ));
    assert!(matches!(
        json(&Tagged::V),
        Err(EncodeError::NotAVariant { .. })
    ));
    assert!(matches!(
        json(&"text"),
        Err(EncodeError::NotAVariant { .. })
    ));
    assert!(matches!(
        json(&Some(1)),
        Err(EncodeError::NotAVariant { .. })
    ));
    assert!(matches!(
        json(&(1, 2)),
        Err(EncodeError::NotAVariant { .. })
    ));
}

#[test]
fn a_payload_that_does_not_fit_is_an_error() {
    let bad = [
        (0, "[]"),
        (0, "1"),
        (0, "{} {}"),
        (0, ""),
        (4, "[7]"),
        (4, r#"[7,"a",1]"#),
        (4, r#"[7,"a"]]"#),
        (6, r#"["Ada",1]"#),
        (6, r#"{"firstName":"Ada","age":256}"#),
        (6, r#"{"first_name":"Ada"}"#),
        (2, "[1] x"),
        (99, "{}"),
    ];
    for (variant, payload) in bad {
        let error = decode_variant::<Shape>("Shape", variant, payload.as_bytes()).unwrap_err();
        assert!(
            matches!(error, DecodeError::InvalidPayload { .. }),
            "{payload}: {error}"
        );
    }
    assert!(decode_variant::<u64>("Number", 0, b"1").is_err());
    assert_eq!(
        decode_variant::<Shape>("Shape", 0, b"null").unwrap(),
        Shape::Unit
    );
    assert_eq!(
        decode_variant::<Shape>("Shape", 0, br#"{"was":{"a":[1]}}"#).unwrap(),
        Shape::Unit
    );
}

#[test]
fn structs_pass_the_same_checks() {
    let mut out = b"before".to_vec();
    encode_struct(&number(1.5), &mut out).unwrap();
    assert_eq!(
        decode_struct::<Number>("Number", &out[6..]).unwrap(),
        number(1.5)
    );
    assert!(encode_struct(&f32::NAN, &mut out).is_err());
    assert!(decode_struct::<Number>("Number", b"{}").is_err());
}
