//! Reads `#[event(…)]`, and finds serde attributes that are not allowed on an event enum.

use darling::FromMeta;
use proc_macro2::TokenTree;
use syn::{Attribute, Expr, LitStr, Meta, Path, Type, parse::Parse, spanned::Spanned};

use crate::attributes::{Errors, Grammar, form, named};

const NAME: &str = "name = \"MoneyPaidIn\"";
const ALIAS: &str = "alias = \"old.name\"";
const UPCAST: &str = "upcast(from = DepositedV1, with = DepositedV1::upgrade)";
const CRATE: &str = "crate = path::to::eventcore";

const ON_VARIANT: Grammar = Grammar::new("event", &[NAME, ALIAS, UPCAST])
    .hints(&[("crate", "`crate = …` belongs above the enum")]);

const ON_ENUM: Grammar = Grammar::new("event", &[UPCAST, CRATE]).hints(&[
    (
        "name",
        "each variant has a stored name of its own; put `#[event(name = \"…\")]` above a variant",
    ),
    (
        "alias",
        "each variant has stored names of its own; put `#[event(alias = \"…\")]` above a variant",
    ),
]);

const ON_STRUCT: Grammar = Grammar::new("event", &[NAME, ALIAS, UPCAST, CRATE]);

/// The arguments of `#[event(…)]` on an event enum, on one of its variants, or on an event struct.
#[derive(Default, FromMeta)]
#[darling(default)]
pub(super) struct Arguments {
    /// The stored name.
    #[darling(with = stored_name, map = Some)]
    pub(super) name: Option<LitStr>,
    /// Other stored names that are read.
    #[darling(multiple, rename = "alias", with = stored_name)]
    pub(super) aliases: Vec<LitStr>,
    /// Older event types that are read.
    #[darling(multiple, rename = "upcast", with = Upcast::read)]
    pub(super) upcasts: Vec<Upcast>,
    /// The path of this library, if not `::eventcore`.
    #[darling(rename = "crate", with = form::path)]
    pub(super) krate: Option<Path>,
}

/// An older event type `from`, whose events are converted with the function `with`.
pub(super) struct Upcast {
    pub(super) from: Type,
    pub(super) with: Expr,
}

const IN_UPCAST: Grammar = Grammar::nested(
    "upcast",
    &["from = DepositedV1", "with = DepositedV1::upgrade"],
);

/// The arguments of `upcast(…)`.
#[derive(Default, FromMeta)]
#[darling(default)]
struct UpcastArguments {
    /// The old event type.
    #[darling(with = form::value)]
    from: Option<Type>,
    /// A function from the old event to this one.
    #[darling(with = form::value)]
    with: Option<Expr>,
}

impl Upcast {
    fn read(item: &Meta) -> darling::Result<Self> {
        let UpcastArguments { from, with } = IN_UPCAST.read_nested(item)?;
        let missing = |message| form::refused(item.path().span(), message);
        match (from, with) {
            (Some(from), Some(with)) => Ok(Self { from, with }),
            (None, _) => Err(missing("`from` is missing: the old event type")),
            (_, None) => Err(missing(
                "`with` is missing: a function from the old event to this one",
            )),
        }
    }
}

fn stored_name(item: &Meta) -> darling::Result<LitStr> {
    let name = form::assigned(item, <LitStr as Parse>::parse)?;
    let value = name.value();
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(form::refused(
            name.span(),
            "a stored name is not empty and has no control characters",
        ));
    }
    Ok(name)
}

pub(super) fn on_enum(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    refuse_serde(attributes, CONTAINER_REFUSED, errors);
    ON_ENUM.read(named(attributes, "event"), errors)
}

pub(super) fn on_variant(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    refuse_serde(attributes, VARIANT_REFUSED, errors);
    ON_VARIANT.read(named(attributes, "event"), errors)
}

pub(super) fn on_struct(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    ON_STRUCT.read(named(attributes, "event"), errors)
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

/// The serde attributes that would change which variant a payload belongs to, or would omit the
/// variant.
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

#[cfg(test)]
mod tests {
    use syn::parse::Parser;

    use super::*;

    #[test]
    fn the_examples_of_each_grammar_are_read() {
        ON_VARIANT.assert_examples_are_read::<Arguments>();
        ON_ENUM.assert_examples_are_read::<Arguments>();
        ON_STRUCT.assert_examples_are_read::<Arguments>();
        IN_UPCAST.assert_examples_are_read::<UpcastArguments>();
    }

    #[test]
    fn each_mistake_in_an_upcast_is_told_with_the_whole_example() {
        let said = |tokens: &str| {
            let attribute = Attribute::parse_outer.parse_str(tokens).expect("tokens");
            let mut errors = Errors::default();
            let arguments: Arguments = ON_VARIANT.read(&attribute, &mut errors);
            assert!(arguments.upcasts.is_empty());
            errors.messages()
        };
        let write = format!("; write `{UPCAST}`");
        for (attribute, messages) in [
            (
                "#[event(upcast(frm = V1, wiht = f))]",
                &[
                    "unknown argument `frm` (did you mean `from`?)",
                    "unknown argument `wiht` (did you mean `with`?)",
                ][..],
            ),
            (
                "#[event(upcast(from = V1))]",
                &["`with` is missing: a function from the old event to this one"],
            ),
            (
                "#[event(upcast(with = f))]",
                &["`from` is missing: the old event type"],
            ),
            (
                "#[event(upcast(from = V1, from = V2, with = f))]",
                &["`from` is given twice; remove one of them"],
            ),
            ("#[event(upcast = f)]", &["expected parentheses"]),
            (
                "#[event(upcast(\"V1\", with))]",
                &["expected the name of an argument", "the value is missing"],
            ),
        ] {
            let messages: Vec<_> = messages
                .iter()
                .map(|said| format!("{said}{write}"))
                .collect();
            assert_eq!(said(attribute), messages, "{attribute}");
        }
    }
}
