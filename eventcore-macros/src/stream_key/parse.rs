//! Reads `#[stream_key(…)]`.

use darling::FromMeta;
use proc_macro2::{Ident, Span};
use syn::{
    Data, DeriveInput, Fields, LitInt, LitStr, Meta, Path, Token, Type, parse::Parser,
    punctuated::Punctuated, spanned::Spanned,
};

use crate::attributes::{Errors, Grammar, form, named};

const GRAMMAR: Grammar = Grammar::new(
    "stream_key",
    &[
        "category = \"account\"",
        "event = AccountEvent",
        "state = Account",
        "snapshot(revision = 1)",
        "traits(Display, FromStr, From)",
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
    /// The state that is folded from the events of a stream, if any is needed.
    #[darling(with = form::value)]
    pub(super) state: Option<Type>,
    /// The store keeps snapshots of the state.
    #[darling(with = read_snapshot)]
    pub(super) snapshot: Option<Snapshot>,
    /// The traits to implement for the key itself.
    #[darling(with = form::list)]
    traits: Option<form::List>,
    /// The path of this library, if not `::eventcore`.
    #[darling(rename = "crate", with = form::path)]
    pub(super) krate: Option<Path>,
}

const SNAPSHOT: Grammar = Grammar::nested(
    "snapshot",
    &["revision = 1", "every = 500", "name = \"Account\""],
);

/// The arguments of `snapshot(…)`.
#[derive(Default, FromMeta)]
#[darling(default)]
pub(super) struct SnapshotArguments {
    /// The revision of the state's form and meaning.
    #[darling(with = form::value)]
    revision: Option<LitInt>,
    /// The number of events after which a new snapshot is taken.
    #[darling(with = form::value)]
    every: Option<LitInt>,
    /// The name of the state in the store, if not that of its type.
    #[darling(with = form::value)]
    name: Option<LitStr>,
}

/// Snapshots of the state.
pub(super) struct Snapshot {
    /// The span of the word `snapshot`.
    pub(super) word: Span,
    pub(super) revision: LitInt,
    pub(super) every: Option<LitInt>,
    pub(super) name: Option<LitStr>,
}

fn read_snapshot(item: &Meta) -> darling::Result<Option<Snapshot>> {
    let word = item.path().span();
    let SnapshotArguments {
        revision,
        every,
        name,
    } = SNAPSHOT.read_nested(item)?;
    let Some(revision) = revision else {
        return Err(form::refused(word, "the revision is missing"));
    };
    if let Err(error) = revision.base10_parse::<u32>() {
        return Err(form::refused(revision.span(), error));
    }
    Ok(Some(Snapshot {
        word,
        revision,
        every,
        name,
    }))
}

/// A trait that the derive can implement for the key itself.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum KeyTrait {
    Display,
    FromStr,
    From,
}

/// Reads the list of `traits(…)`.
fn traits(list: &form::List, errors: &mut Errors) -> Vec<(KeyTrait, Span)> {
    let parse = Punctuated::<Ident, Token![,]>::parse_terminated;
    let names = match parse.parse2(list.tokens.clone()) {
        Ok(names) => names,
        Err(error) => {
            let message = format!("{error}; write `traits(Display, FromStr, From)`");
            errors.at_span(error.span(), message);
            return Vec::new();
        }
    };
    if names.is_empty() {
        errors.at_span(
            list.word,
            "no traits are named; write `traits(Display, FromStr, From)`",
        );
    }
    let mut found = Vec::new();
    for name in names {
        let found_trait = match name.to_string().as_str() {
            "Display" => KeyTrait::Display,
            "FromStr" => KeyTrait::FromStr,
            "From" => KeyTrait::From,
            other => {
                let message = format!(
                    "`{other}` is none of the traits that this derive implements: `Display`, `FromStr` and `From`; derive \
                     others with `#[derive({other})]`"
                );
                errors.at(&name, message);
                continue;
            }
        };
        if found.iter().any(|(other, _)| *other == found_trait) {
            errors.at(
                &name,
                format!("`{name}` is named twice; remove one of them"),
            );
        } else {
            found.push((found_trait, name.span()));
        }
    }
    found
}

impl Arguments {
    /// Returns the traits to implement, with the places where they are named.
    pub(super) fn take_traits(&mut self, errors: &mut Errors) -> Vec<(KeyTrait, Span)> {
        let list = self.traits.take();
        list.map_or_else(Vec::new, |list| traits(&list, errors))
    }
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
    if let (Some(snapshot), None) = (&arguments.snapshot, &arguments.state) {
        errors.at_span(
            snapshot.word,
            "snapshots are of a state, and this key names none; add `state = Account`, or remove `snapshot(…)`",
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
        SNAPSHOT.assert_examples_are_read::<SnapshotArguments>();
    }
}
