//! The model of a feed: its variants, each with a key type, an event type, and optionally the
//! stored names that it selects.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Data, DeriveInput, Fields, Generics, LitStr, Path, Type};

use super::parse;
use crate::attributes::{Errors, default_crate, text};

pub(super) struct Feed {
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    pub(super) krate: Path,
    /// `None` for a type that is not an enum.
    pub(super) variants: Option<Vec<Variant>>,
}

pub(super) struct Variant {
    pub(super) ident: Ident,
    pub(super) key: Type,
    pub(super) event: Type,
    /// The stored names of the events that the variant is for; if empty, it is for all events.
    pub(super) only: Vec<LitStr>,
}

impl Feed {
    pub(super) fn new(input: DeriveInput, errors: &mut Errors) -> Self {
        let krate = parse::on_enum(&input.attrs, errors);
        Self {
            variants: variants(&input.ident, input.data, errors),
            ident: input.ident,
            generics: input.generics,
            krate: krate.unwrap_or_else(default_crate),
        }
    }
}

fn variants(ident: &Ident, data: Data, errors: &mut Errors) -> Option<Vec<Variant>> {
    let name = text(ident);
    let example = format!("write `enum {name} {{ Account(AccountId, AccountEvent), … }}`");
    match data {
        Data::Enum(data) => {
            if data.variants.is_empty() {
                errors.at(ident, format!("this feed reads nothing; {example}"));
            }
            let mut variants = Vec::new();
            for variant in data.variants {
                variants.extend(self::variant(variant, &variants, errors));
            }
            Some(variants)
        }
        Data::Struct(data) => {
            errors.at(
                data.struct_token,
                format!(
                    "a feed is an enum with a variant for each category of streams, not a struct; {example}"
                ),
            );
            None
        }
        Data::Union(data) => {
            errors.at(
                data.union_token,
                format!("a feed is an enum, not a union; {example}"),
            );
            None
        }
    }
}

fn variant(
    syn::Variant {
        attrs,
        ident,
        fields,
        ..
    }: syn::Variant,
    others: &[Variant],
    errors: &mut Errors,
) -> Option<Variant> {
    let only = parse::on_variant(&attrs, errors);
    parse::misplaced(&fields, errors);
    let example = format!("write `{ident}(AccountId, AccountEvent)`");
    if let Fields::Named(fields) = &fields {
        errors.at(
            fields,
            format!("the fields of a feed's variant have no names; {example}"),
        );
        return None;
    }
    let count = fields.len();
    let types: Option<[Type; 2]> = fields
        .iter()
        .map(|field| field.ty.clone())
        .collect::<Vec<_>>()
        .try_into()
        .ok();
    let Some([key, event]) = types else {
        let message = format!(
            "a variant of a feed has two fields, the key of a stream and its event; this one has {count}; {example}"
        );
        if fields.is_empty() {
            errors.at(&ident, message);
        } else {
            errors.at(&fields, message);
        }
        return None;
    };
    let is_same = |other: &&Variant| tokens(&other.key) == tokens(&key);
    if let Some(first) = others.iter().find(is_same) {
        errors.at(
            &key,
            format!(
                "`{}` is the variant for these streams already; remove one of them, and match on the event instead",
                first.ident
            ),
        );
        return None;
    }
    Some(Variant {
        ident,
        key,
        event,
        only,
    })
}

fn tokens(ty: &Type) -> String {
    ty.to_token_stream().to_string()
}
