//! Reads `#[stream_key(…)]`.

use darling::FromMeta;
use syn::{Data, DeriveInput, Fields, LitStr, Path, Type};

use crate::attributes::{Errors, Grammar, form, named};

const GRAMMAR: Grammar = Grammar::new(
    "stream_key",
    &[
        "category = \"account\"",
        "event = AccountEvent",
        "crate = path::to::eventcore",
    ],
);

/// The arguments of `#[stream_key(…)]`.
#[derive(Default, FromMeta)]
#[darling(default)]
pub(super) struct Arguments {
    /// The part of the stream ids before the first `-`.
    #[darling(with = form::value)]
    pub(super) category: Option<LitStr>,
    /// The event type of the streams.
    #[darling(with = form::value)]
    pub(super) event: Option<Type>,
    /// The path of this library, if not `::eventcore`.
    #[darling(rename = "crate", with = form::path)]
    pub(super) krate: Option<Path>,
}

pub(super) fn arguments(input: &DeriveInput, errors: &mut Errors) -> Arguments {
    let found = named(&input.attrs, "stream_key").next().is_some();
    let before = errors.is_empty();
    let arguments: Arguments = GRAMMAR.read(named(&input.attrs, "stream_key"), errors);
    // A misspelt argument has already been reported; reporting the correct one as missing would add
    // nothing.
    let read_well = before == errors.is_empty();
    if !found {
        errors.at(
            &input.ident,
            "`derive(StreamKey)` needs the category and the events of the streams; write \
             `#[stream_key(category = \"account\", event = AccountEvent)]` above",
        );
    } else if read_well && arguments.category.is_none() {
        errors.at(
            &input.ident,
            "the category is missing; add `category = \"account\"` to `#[stream_key(…)]`",
        );
    }
    if found && read_well && arguments.event.is_none() {
        errors.at(
            &input.ident,
            "the event type is missing; add `event = AccountEvent` to `#[stream_key(…)]`",
        );
    }
    misplaced(input, errors);
    arguments
}

fn misplaced(input: &DeriveInput, errors: &mut Errors) {
    let Data::Struct(data) = &input.data else {
        return;
    };
    let (Fields::Named(_) | Fields::Unnamed(_)) = data.fields else {
        return;
    };
    for attribute in data
        .fields
        .iter()
        .flat_map(|field| named(&field.attrs, "stream_key"))
    {
        errors.at(
            attribute,
            "`#[stream_key(…)]` belongs above the struct, not on its field",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_grammar_are_read() {
        GRAMMAR.assert_examples_are_read::<Arguments>();
    }
}
