//! The stored names of an event type and of the older types that it upcasts from, joined at compile
//! time.

use super::MAX_TYPE_NAME_BYTES;

/// Returns `true` if every store accepts `name` as the stored name of an event.
pub(crate) fn is_type_name(name: &str) -> bool {
    // Nearly all names consist of these bytes, which are checked much faster than characters.
    let is_plain = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (1..=MAX_TYPE_NAME_BYTES).contains(&name.len())
        && (is_plain || !name.chars().any(char::is_control))
}

/// Returns the number of names in all `lists`.
pub const fn count_names(lists: &[&[&'static str]]) -> usize {
    let mut count = 0;
    let mut lists = lists;
    while let [list, rest @ ..] = lists {
        count += list.len();
        lists = rest;
    }
    count
}

/// Joins the names of all `lists` into one array; `N` must be their [`count_names`].
///
/// # Panics
/// Panics if two names are equal or `N` is a different number. The function runs at compile time,
/// where a panic is an error.
pub const fn concat_names<const N: usize>(lists: &[&[&'static str]]) -> [&'static str; N] {
    assert!(N == count_names(lists), "`N` is the number of names");
    let mut names = [""; N];
    let mut free: &mut [&'static str] = &mut names;
    let mut lists = lists;
    while let [list, other_lists @ ..] = lists {
        let mut list = *list;
        while let [name, other_names @ ..] = list {
            if let [slot, other_slots @ ..] = free {
                *slot = name;
                free = other_slots;
            }
            list = other_names;
        }
        lists = other_lists;
    }
    assert!(
        are_distinct(&names),
        "an event type and the types that it upcasts from have a stored name in common; \
         give one of them another with `#[event(name = \"…\")]`"
    );
    names
}

/// Returns `true` if no two names are equal.
pub const fn are_distinct(names: &[&str]) -> bool {
    let mut names = names;
    while let [name, rest @ ..] = names {
        if contains(rest, name) {
            return false;
        }
        names = rest;
    }
    true
}

/// Returns `true` if `wanted` is among the names.
pub const fn contains(names: &[&str], wanted: &str) -> bool {
    let mut names = names;
    while let [name, rest @ ..] = names {
        if is_same(name.as_bytes(), wanted.as_bytes()) {
            return true;
        }
        names = rest;
    }
    false
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let (mut a, mut b) = (a, b);
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.is_empty() && b.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &[&[&str]] = &[&["A", "B"], &[], &["C"]];

    #[test]
    fn lists_are_joined_in_order() {
        const NAMES: &[&str] = &concat_names::<{ count_names(LISTS) }>(LISTS);
        assert_eq!(NAMES, ["A", "B", "C"]);
    }

    #[test]
    fn equal_names_are_found_wherever_they_stand() {
        assert!(are_distinct(&["A", "AB", "B", ""]));
        assert!(!are_distinct(&["A", "B", "A"]));
    }
}
