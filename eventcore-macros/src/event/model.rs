//! The model of an event type: its stored names, and the older types that it reads.

use std::collections::HashMap;

use proc_macro2::{Ident, Span};
use syn::{Data, DeriveInput, Generics, LitStr, Path};

use super::parse::{self, Arguments, Upcast};
use crate::attributes::{Errors, default_crate, text};

pub(super) struct Event {
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    pub(super) krate: Path,
    pub(super) shape: Shape,
    pub(super) upcasts: Vec<Upcast>,
}

pub(super) enum Shape {
    Struct(Names),
    Enum(Vec<Variant>),
    /// Neither of the two; no code can be generated.
    Refused,
}

pub(super) struct Variant {
    pub(super) ident: Ident,
    pub(super) names: Names,
}

/// The name that is stored, and the other names that are read.
pub(super) struct Names {
    pub(super) own: LitStr,
    pub(super) aliases: Vec<LitStr>,
}

impl Names {
    pub(super) fn all(&self) -> impl Iterator<Item = &LitStr> {
        std::iter::once(&self.own).chain(&self.aliases)
    }
}

impl Event {
    pub(super) fn new(input: DeriveInput, errors: &mut Errors) -> Self {
        let DeriveInput {
            attrs,
            ident,
            generics,
            data,
            ..
        } = input;
        let mut taken = Taken::default();
        let (shape, krate, upcasts) = match data {
            Data::Struct(data) => {
                parse::misplaced(&data.fields, errors);
                let Arguments {
                    name,
                    aliases,
                    upcasts,
                    krate,
                } = parse::on_struct(&attrs, errors);
                let names = taken.names(name, aliases, &text(&ident), ident.span(), errors);
                (Shape::Struct(names), krate, upcasts)
            }
            Data::Enum(data) => {
                let Arguments {
                    mut upcasts, krate, ..
                } = parse::on_enum(&attrs, errors);
                if data.variants.is_empty() {
                    errors.at(
                        &ident,
                        "an event enum has a variant for each thing that can happen; add one",
                    );
                }
                let prefix = text(&ident);
                let prefix = prefix.strip_suffix("Event").unwrap_or(&prefix);
                let mut variants = Vec::new();
                for variant in data.variants {
                    parse::misplaced(&variant.fields, errors);
                    let arguments = parse::on_variant(&variant.attrs, errors);
                    let default = format!("{prefix}{}", text(&variant.ident));
                    let span = variant.ident.span();
                    let names =
                        taken.names(arguments.name, arguments.aliases, &default, span, errors);
                    upcasts.extend(arguments.upcasts);
                    variants.push(Variant {
                        ident: variant.ident,
                        names,
                    });
                }
                (Shape::Enum(variants), krate, upcasts)
            }
            Data::Union(data) => {
                errors.at(
                    data.union_token,
                    "an event is an enum or a struct, not a union; write `enum`",
                );
                (Shape::Refused, None, Vec::new())
            }
        };
        Self {
            ident,
            generics,
            krate: krate.unwrap_or_else(default_crate),
            shape,
            upcasts,
        }
    }
}

/// The stored names in use, each with its owner.
#[derive(Default)]
struct Taken(HashMap<String, String>);

impl Taken {
    /// Returns the names of one variant. Names already in use are reported and left out.
    fn names(
        &mut self,
        name: Option<LitStr>,
        mut aliases: Vec<LitStr>,
        default: &str,
        owner: Span,
        errors: &mut Errors,
    ) -> Names {
        let own = name.unwrap_or_else(|| LitStr::new(default, owner));
        self.take(&own, default, errors);
        aliases.retain(|alias| self.take(alias, default, errors));
        Names { own, aliases }
    }

    fn take(&mut self, name: &LitStr, owner: &str, errors: &mut Errors) -> bool {
        let value = name.value();
        let Some(first) = self.0.get(&value) else {
            self.0.insert(value, owner.to_owned());
            return true;
        };
        let message = if first == owner {
            format!("the stored name `{value}` is given twice; remove one of them")
        } else {
            format!(
                "the stored name `{value}` already belongs to another variant; choose another with `#[event(name = \"…\")]`"
            )
        };
        errors.push(syn::Error::new(name.span(), message));
        false
    }
}
