//! Line-by-line differences between the debug output of two values or lists of events.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use similar::{ChangeTag, TextDiff};

use crate::StreamId;

/// Returns the difference, or `None` if all events are equal.
pub(super) fn events<E: PartialEq + fmt::Debug>(expected: &[E], actual: &[E]) -> Option<String> {
    if expected == actual {
        return None;
    }
    let same = expected.iter().zip(actual).take_while(|(a, b)| a == b);
    let number = same.count() + 1;
    let what = match (expected.get(number - 1), actual.get(number - 1)) {
        (Some(_), Some(_)) => format!("event {number} differs"),
        (Some(_), None) => format!("event {number} is missing"),
        (None, _) => format!("event {number} was not expected"),
    };
    Some(format!(
        "{what} ({} expected, {} appended)\n{}",
        expected.len(),
        actual.len(),
        values(&expected, &actual)
    ))
}

/// Returns both values as one diff, with `-` before expected lines and `+` before actual lines.
pub(super) fn values<T: fmt::Debug>(expected: &T, actual: &T) -> String {
    let (expected, actual) = (format!("{expected:#?}\n"), format!("{actual:#?}\n"));
    let mut text = "  - expected\n  + actual\n".to_owned();
    for change in TextDiff::from_lines(&expected, &actual).iter_all_changes() {
        let sign = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        // Writing into a string does not fail.
        let _ = write!(text, "  {sign} {}", change.value());
    }
    text
}

/// Formats stored events whose types are unknown, one per line.
pub(super) fn stored<'a>(
    events: impl Iterator<Item = (&'a StreamId, &'static str, &'a Bytes)>,
) -> String {
    let mut text = String::new();
    for (stream, type_name, payload) in events {
        let payload = String::from_utf8_lossy(payload);
        let _ = writeln!(text, "    {stream}: {type_name} {payload}");
    }
    text
}
