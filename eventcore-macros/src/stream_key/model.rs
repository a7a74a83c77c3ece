//! The model of a stream key: a category, an event type, and one inner value.

use proc_macro2::{Ident, Span};
use syn::{Data, DeriveInput, Field, Fields, Generics, LitStr, Path, Type};

use super::parse::{Arguments, KeyTrait, Snapshot};
use crate::attributes::{Errors, default_crate, text};

pub(super) struct Key {
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    pub(super) krate: Path,
    pub(super) category: Option<LitStr>,
    pub(super) event: Option<Type>,
    pub(super) state: Option<Type>,
    pub(super) snapshot: Option<Snapshot>,
    /// The traits to implement for the key itself, with the places where they are named.
    pub(super) traits: Vec<(KeyTrait, Span)>,
    /// The inner value; `None` in a shape that cannot be a key.
    pub(super) inner: Option<Inner>,
}

pub(super) struct Inner {
    /// `None` in a tuple struct.
    pub(super) name: Option<Ident>,
    pub(super) ty: Type,
}

impl Key {
    pub(super) fn new(input: DeriveInput, mut arguments: Arguments, errors: &mut Errors) -> Self {
        let traits = arguments.take_traits(errors);
        let Arguments {
            category,
            event,
            state,
            snapshot,
            krate,
            ..
        } = arguments;
        if let Some(category) = &category {
            check_category(category, errors);
        }
        let inner = inner(&input.ident, input.data, errors);
        let krate = krate.unwrap_or_else(default_crate);
        Self {
            ident: input.ident,
            generics: input.generics,
            krate,
            category,
            event,
            state,
            snapshot,
            traits,
            inner,
        }
    }
}

fn check_category(category: &LitStr, errors: &mut Errors) {
    let value = category.value();
    let forbidden = value
        .chars()
        .find(|c| c.is_control() || matches!(c, '*' | '?' | '[' | ']' | '{' | '}'));
    if value.is_empty() {
        errors.at(
            category,
            "the category is empty; write the word that the ids begin with, such as `\"account\"`",
        );
    } else if value.contains('-') {
        let better = value.replace('-', "_");
        errors.at(
            category,
            format!("`-` separates category and key; write `\"{better}\"`"),
        );
    } else if let Some(found) = forbidden {
        errors.at(
            category,
            format!(
                "a category must not contain {found:?}: control characters and `* ? [ ] {{ }}` are not allowed in \
                 stream ids; use letters, digits and `_`"
            ),
        );
    } else if value.chars().count() > 253 {
        errors.at(category, "the category leaves no room for a key: a stream id has at most 255 characters; shorten it");
    }
}

fn inner(ident: &Ident, data: Data, errors: &mut Errors) -> Option<Inner> {
    let name = text(ident);
    let newtype =
        format!("write `struct {name}(String);`, around any type with `Display` and `FromStr`");
    let fields = match data {
        Data::Struct(data) => data.fields,
        Data::Enum(data) => {
            errors.at(
                data.enum_token,
                format!("a stream key is a newtype struct, not an enum; {newtype}"),
            );
            return None;
        }
        Data::Union(data) => {
            errors.at(
                data.union_token,
                format!("a stream key is a newtype struct, not a union; {newtype}"),
            );
            return None;
        }
    };
    if matches!(&fields, Fields::Unit) || fields.is_empty() {
        errors.at(
            ident,
            format!("a stream key has one field, this struct has none; {newtype}"),
        );
        return None;
    }
    let mut fields = fields.into_iter();
    let first = fields.next();
    if let Some(second) = fields.next() {
        errors.at(
            second,
            format!("a stream key has one field; {newtype}, with both parts in a type of their own if need be"),
        );
        return None;
    }
    first.map(
        |Field {
             ident: name, ty, ..
         }| Inner { name, ty },
    )
}
