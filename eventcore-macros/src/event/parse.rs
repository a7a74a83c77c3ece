//! Reads `#[event(…)]`, and finds what serde must not be told about an event enum.

use proc_macro2::{Ident, TokenTree};
use syn::{
    Attribute, Expr, LitStr, Meta, Path, Token, Type,
    parse::{ParseStream, Parser},
};

use crate::attributes::{Argument, Errors, Reader, assigned, assigned_path, named, parenthesized};

const NAME: Argument = Argument::once("name", "name = \"MoneyPaidIn\"");
const ALIAS: Argument = Argument::repeated("alias", "alias = \"old.name\"");
const UPCAST: Argument = Argument::repeated(
    "upcast",
    "upcast(from = DepositedV1, with = DepositedV1::upgrade)",
);
const CRATE: Argument = Argument::once("crate", "crate = path::to::eventcore");

const VARIANT: &[Argument] = &[NAME, ALIAS, UPCAST];
const ENUM: &[Argument] = &[UPCAST, CRATE];
const STRUCT: &[Argument] = &[NAME, ALIAS, UPCAST, CRATE];

const VARIANT_HINTS: &[(&str, &str)] = &[("crate", "`crate = …` belongs above the enum")];
const ENUM_HINTS: &[(&str, &str)] = &[
    (
        "name",
        "each variant has a stored name of its own; put `#[event(name = \"…\")]` above a variant",
    ),
    (
        "alias",
        "each variant has stored names of its own; put `#[event(alias = \"…\")]` above a variant",
    ),
];

/// What stands on an event enum, on one of its variants, or on an event struct.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) name: Option<LitStr>,
    pub(super) aliases: Vec<LitStr>,
    pub(super) upcasts: Vec<Upcast>,
    pub(super) krate: Option<Path>,
}

/// Events of the type `from` are read with the function `with`.
pub(super) struct Upcast {
    pub(super) from: Type,
    pub(super) with: Expr,
}

pub(super) fn on_enum(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    refuse_serde(attributes, CONTAINER_REFUSED, errors);
    arguments(
        Reader::new("event", ENUM).hints(ENUM_HINTS),
        attributes,
        errors,
    )
}

pub(super) fn on_variant(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    refuse_serde(attributes, VARIANT_REFUSED, errors);
    arguments(
        Reader::new("event", VARIANT).hints(VARIANT_HINTS),
        attributes,
        errors,
    )
}

pub(super) fn on_struct(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    arguments(Reader::new("event", STRUCT), attributes, errors)
}

fn arguments(mut reader: Reader<'_>, attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    let mut arguments = Arguments::default();
    for attribute in named(attributes, "event") {
        reader.read(attribute, errors, |name, _, value| {
            match name {
                "name" => arguments.name = Some(stored_name(value)?),
                "alias" => arguments.aliases.push(stored_name(value)?),
                "upcast" => arguments
                    .upcasts
                    .push(upcast.parse2(parenthesized(value)?)?),
                _ => arguments.krate = Some(assigned_path(value)?),
            }
            Ok(())
        });
    }
    arguments
}

fn stored_name(input: ParseStream) -> syn::Result<LitStr> {
    let name: LitStr = assigned(input)?;
    let value = name.value();
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(syn::Error::new(
            name.span(),
            "a stored name is not empty and has no control characters",
        ));
    }
    Ok(name)
}

fn upcast(input: ParseStream) -> syn::Result<Upcast> {
    let (mut from, mut with) = (None, None);
    while !input.is_empty() {
        let word: Ident = input.parse()?;
        if word == "from" && from.is_none() {
            from = Some(assigned(input)?);
        } else if word == "with" && with.is_none() {
            with = Some(assigned(input)?);
        } else {
            return Err(syn::Error::new(
                word.span(),
                "expected `from = …` and `with = …`, once each",
            ));
        }
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    match (from, with) {
        (Some(from), Some(with)) => Ok(Upcast { from, with }),
        (None, _) => Err(input.error("`from` is missing: the old event type")),
        (_, None) => {
            Err(input.error("`with` is missing: a function from the old event to this one"))
        }
    }
}

pub(super) fn misplaced<'a>(fields: impl IntoIterator<Item = &'a syn::Field>, errors: &mut Errors) {
    for attribute in fields
        .into_iter()
        .flat_map(|field| named(&field.attrs, "event"))
    {
        errors.at(
            attribute,
            "`#[event(…)]` does not go on a field; rename fields with `#[serde(rename = \"…\")]`",
        );
    }
}

/// What would change which variant is which, or leave out the variant.
const CONTAINER_REFUSED: &[(&str, &str)] = &[
    (
        "tag",
        "the stored name already tells the variant; remove it",
    ),
    (
        "content",
        "the payload is the variant's own fields; remove it",
    ),
    (
        "untagged",
        "the stored name already tells the variant; remove it",
    ),
    (
        "from",
        "read old events with `#[event(upcast(from = …, with = …))]` instead",
    ),
    (
        "try_from",
        "read old events with `#[event(upcast(from = …, with = …))]` instead",
    ),
    ("into", "derive `Event` on the type that is stored instead"),
    ("remote", "derive `Event` on a type of your own instead"),
    ("variant_identifier", "an identifier is no event; remove it"),
    ("field_identifier", "an identifier is no event; remove it"),
];

const VARIANT_REFUSED: &[(&str, &str)] = &[
    (
        "skip",
        "every variant of an event is stored; remove it, or the variant",
    ),
    (
        "skip_serializing",
        "every variant of an event is stored; remove it, or the variant",
    ),
    (
        "skip_deserializing",
        "every variant of an event is read; remove it, or the variant",
    ),
    (
        "other",
        "an unknown event is an error and never skipped; remove it",
    ),
    (
        "untagged",
        "the stored name already tells the variant; remove it",
    ),
];

fn refuse_serde(attributes: &[Attribute], refused: &[(&str, &str)], errors: &mut Errors) {
    for attribute in named(attributes, "serde") {
        let Meta::List(list) = &attribute.meta else {
            continue;
        };
        let mut at_start = true;
        for token in list.tokens.clone() {
            if let (true, TokenTree::Ident(word)) = (at_start, &token)
                && let Some((name, instead)) = refused.iter().find(|(name, _)| word == name)
            {
                errors.at(
                    word,
                    format!("serde's `{name}` does not go with `derive(Event)`: {instead}"),
                );
            }
            at_start = matches!(&token, TokenTree::Punct(comma) if comma.as_char() == ',');
        }
    }
}
