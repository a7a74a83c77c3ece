//! Reads `#[event_feed(…)]`.

use std::collections::HashSet;

use syn::{Attribute, Field, LitStr, Path, Token, parse::Parser, punctuated::Punctuated};

use crate::attributes::{Argument, Errors, Reader, assigned_path, named, parenthesized};

const ENUM: &[Argument] = &[Argument::once("crate", "crate = path::to::eventcore")];

const ENUM_HINTS: &[(&str, &str)] = &[(
    "only",
    "each variant is narrowed on its own; put `#[event_feed(only(\"…\"))]` above a variant",
)];

const VARIANT: &[Argument] = &[Argument::once("only", "only(\"AccountOpened\")")];

const ONLY: &str = "write `#[event_feed(only(\"AccountOpened\"))]` for some events of the streams, and nothing for all";

const VARIANT_HINTS: &[(&str, &str)] = &[
    ("crate", "`crate = …` belongs above the enum"),
    ("types", ONLY),
    ("names", ONLY),
    ("events", ONLY),
    (
        "category",
        "the category is that of the variant's key; remove it",
    ),
];

/// Where `eventcore` is.
pub(super) fn on_enum(attributes: &[Attribute], errors: &mut Errors) -> Option<Path> {
    let mut krate = None;
    let mut reader = Reader::new("event_feed", ENUM).hints(ENUM_HINTS);
    for attribute in named(attributes, "event_feed") {
        reader.read(attribute, errors, |_, _, value| {
            krate = Some(assigned_path(value)?);
            Ok(())
        });
    }
    krate
}

/// The stored names that a variant is narrowed to; none without the attribute.
pub(super) fn on_variant(attributes: &[Attribute], errors: &mut Errors) -> Vec<LitStr> {
    let mut only: Vec<LitStr> = Vec::new();
    let mut reader = Reader::new("event_feed", VARIANT).hints(VARIANT_HINTS);
    for attribute in named(attributes, "event_feed") {
        reader.read(attribute, errors, |_, word, value| {
            let names = parenthesized(value)?;
            if names.is_empty() {
                return Err(syn::Error::new(word.span(), "no stored name is given"));
            }
            let names = Punctuated::<LitStr, Token![,]>::parse_terminated.parse2(names)?;
            only.extend(names);
            Ok(())
        });
    }
    let mut seen = HashSet::new();
    only.retain(|name| {
        let is_new = seen.insert(name.value());
        if !is_new {
            let message = format!("`{}` is given twice; remove one of them", name.value());
            errors.at(name, message);
        }
        is_new
    });
    only
}

pub(super) fn misplaced<'a>(fields: impl IntoIterator<Item = &'a Field>, errors: &mut Errors) {
    for attribute in fields
        .into_iter()
        .flat_map(|field| named(&field.attrs, "event_feed"))
    {
        errors.at(
            attribute,
            "`#[event_feed(…)]` belongs above the variant, not on its fields",
        );
    }
}
