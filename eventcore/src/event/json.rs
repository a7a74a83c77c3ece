//! A check that a text is exactly one JSON value that every store accepts and every reader can
//! read.
//!
//! It accepts what `serde_json::Value` can be read from, without building one. PostgreSQL's `json`
//! also accepts all of that.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

/// Checks that `payload` is one JSON value in UTF-8, surrounded by nothing but white space.
///
/// # Errors
/// Returns the fault and its location.
pub(crate) fn check_json(payload: &[u8]) -> Result<(), String> {
    // One check of the whole payload is faster than one for each string.
    let text = std::str::from_utf8(payload).map_err(|error| error.to_string())?;
    match serde_json::from_str(text) {
        Ok(Checked) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Any JSON value. Unlike `serde::de::IgnoredAny`, it checks strings and numbers and counts levels:
/// any type can be read from what it accepts.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while elements.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::check_json;

    proptest! {
        /// Checks that both agree; otherwise a payload could be stored that some reader cannot
        /// read.
        #[test]
        fn json_is_what_a_value_can_be_read_from(
            pieces in prop::collection::vec(prop::sample::select(PIECES), 0..8),
        ) {
            let text = pieces.concat();
            let value = serde_json::from_slice::<serde_json::Value>(&text);
            prop_assert_eq!(check_json(&text).is_ok(), value.is_ok(), "{:?}", text);
        }
    }

    const PIECES: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\"a\"",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\\udc00",
        b"\\n",
        b"1",
        b"-",
        b"0",
        b"1e999",
        b"1e-999",
        b".5",
        b"18446744073709551616",
        b"true",
        b"null",
        b"nul",
        b" ",
        b"\n",
        b"\0",
        b"\xff",
        "ü".as_bytes(),
        b"\xef\xbb\xbf",
        b"NaN",
        b"\"\\ud83d\\ude00\"",
    ];

    #[test]
    fn nesting_ends_where_readers_end() {
        for (levels, accepted) in [(127, true), (128, false), (1_000_000, false)] {
            let nested = ["[".repeat(levels), "]".repeat(levels)].concat();
            assert_eq!(check_json(nested.as_bytes()).is_ok(), accepted, "{levels}");
        }
    }
}
