//! Reads `#[event_feed(…)]`.

use std::collections::HashSet;

use darling::FromMeta;
use syn::{
    Attribute, Field, LitStr, Meta, Path, Token, parse::ParseStream, punctuated::Punctuated,
    spanned::Spanned,
};

use crate::attributes::{Errors, Grammar, form, named, parse_located};

const ON_ENUM: Grammar = Grammar::new("event_feed", &["crate = path::to::eventcore"]).hints(&[(
    "only",
    "each variant is narrowed on its own; put `#[event_feed(only(\"…\"))]` above a variant",
)]);

const ONLY: &str = "write `#[event_feed(only(\"AccountOpened\"))]` for some events of the streams, \
                    and nothing for all";

const ON_VARIANT: Grammar = Grammar::new("event_feed", &["only(\"AccountOpened\")"]).hints(&[
    ("crate", "`crate = …` belongs above the enum"),
    ("types", ONLY),
    ("names", ONLY),
    ("events", ONLY),
    (
        "category",
        "the category is that of the variant's key; remove it",
    ),
]);

/// The arguments of `#[event_feed(…)]` on the enum.
#[derive(Default, FromMeta)]
#[darling(default)]
struct EnumArguments {
    /// The path of this library, if not `::eventcore`.
    #[darling(rename = "crate", with = form::path)]
    krate: Option<Path>,
}

/// The arguments of `#[event_feed(…)]` on a variant.
#[derive(Default, FromMeta)]
#[darling(default)]
struct VariantArguments {
    /// The stored names of the events that the variant is for.
    #[darling(with = stored_names)]
    only: Vec<LitStr>,
}

fn stored_names(item: &Meta) -> darling::Result<Vec<LitStr>> {
    let names = form::parenthesized(item)?;
    if names.is_empty() {
        return Err(form::refused(item.path().span(), "no stored name is given"));
    }
    let parse = |input: ParseStream| Punctuated::<LitStr, Token![,]>::parse_terminated(input);
    Ok(parse_located(names.clone(), parse)?.into_iter().collect())
}

/// Returns the path of this library.
pub(super) fn on_enum(attributes: &[Attribute], errors: &mut Errors) -> Option<Path> {
    let arguments: EnumArguments = ON_ENUM.read(named(attributes, "event_feed"), errors);
    arguments.krate
}

/// Returns the stored names that a variant is narrowed to; none without the attribute.
pub(super) fn on_variant(attributes: &[Attribute], errors: &mut Errors) -> Vec<LitStr> {
    let arguments: VariantArguments = ON_VARIANT.read(named(attributes, "event_feed"), errors);
    let mut only = arguments.only;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_each_grammar_are_read() {
        ON_ENUM.assert_examples_are_read::<EnumArguments>();
        ON_VARIANT.assert_examples_are_read::<VariantArguments>();
    }
}
