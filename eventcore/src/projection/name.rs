//! The names of projections.

/// The maximum length of a projection name in bytes. PostgreSQL allows this much for a schema name.
pub(super) const MAX_NAME_BYTES: usize = 63;

/// Panics, at compile time, if `name` is not a valid projection name.
#[track_caller]
pub(super) const fn check_name(name: &str) {
    assert!(
        is_name(name),
        "the `NAME` of a projection or automation has 1 to 63 characters: ASCII letters, digits, `_` and `-`"
    );
}

/// Returns `true` if this is a valid projection name. Names become part of table, schema and file
/// names.
const fn is_name(name: &str) -> bool {
    let mut rest = name.as_bytes();
    if rest.is_empty() || rest.len() > MAX_NAME_BYTES {
        return false;
    }
    while let [byte, tail @ ..] = rest {
        if !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b'-' {
            return false;
        }
        rest = tail;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_1_to_63_letters_digits_underscores_and_hyphens() {
        let longest = "a".repeat(MAX_NAME_BYTES);
        for name in ["a", "balances-2", "_", "-", "Orders_by_day", &longest] {
            assert!(is_name(name), "{name}");
        }
        let too_long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "no/name", "a b", "a.b", "größe", "a\0", &too_long] {
            assert!(!is_name(name), "{name}");
        }
    }
}
