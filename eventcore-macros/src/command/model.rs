//! The model of a command: its streams in order, and the names of the generated types.

use std::collections::HashMap;

use proc_macro2::{Ident, Span};
use quote::ToTokens;
use syn::{
    Attribute, Data, DeriveInput, Fields, GenericArgument, Generics, Lifetime, Path, PathArguments,
    Type, TypeArray, TypePath, TypeSlice, Visibility,
};

use super::{
    generics,
    parse::{self, Arguments, Slot, Stream},
};
use crate::attributes::{Errors, default_crate, joined, named, text};

pub(super) struct Command {
    pub(super) vis: Visibility,
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    pub(super) krate: Path,
    /// The names of the generated types, and their fields; slots come after fields.
    pub(super) streams: Ident,
    pub(super) event: Ident,
    pub(super) fields: Vec<Field>,
    pub(super) discovered: Option<Discovered>,
    /// The lifetime of handles and events, and the generics that their types also need.
    pub(super) lifetime: Lifetime,
    pub(super) field_generics: Generics,
}

pub(super) struct Discovered {
    /// The span of the word `discovers`.
    pub(super) word: Span,
    pub(super) ident: Ident,
    pub(super) generics: Generics,
    /// The name of the struct of handles that the resolver sees.
    pub(super) known_streams: Ident,
}

/// A stream field, or a slot for discovered streams.
pub(super) struct Field {
    pub(super) ident: Ident,
    /// The name of the field in error messages.
    pub(super) name: String,
    pub(super) variant: Ident,
    pub(super) docs: Vec<Attribute>,
    pub(super) vis: Visibility,
    pub(super) ty: Type,
    pub(super) read_only: bool,
    /// The event type of a raw stream id.
    pub(super) event: Option<Type>,
    /// The state type of a raw stream id.
    pub(super) state: Option<Type>,
    pub(super) is_slot: bool,
}

impl Field {
    /// Returns the types whose generics the generated types need.
    fn types(&self) -> impl Iterator<Item = &Type> {
        std::iter::once(&self.ty)
            .chain(&self.event)
            .chain(&self.state)
    }
}

impl Command {
    pub(super) fn new(input: DeriveInput, errors: &mut Errors) -> Self {
        let DeriveInput {
            attrs,
            vis,
            ident,
            generics,
            data,
            ..
        } = input;
        let (arguments, discovers) = parse::command(&attrs, errors);
        let Arguments {
            streams,
            event,
            discovered,
            known_streams,
            krate,
            ..
        } = arguments;
        let mut fields: Vec<Field> = struct_fields(&ident, data, errors)
            .into_iter()
            .filter_map(|field| stream_field(field, errors))
            .collect();
        let word = discovers.as_ref().map(|discovers| discovers.word);
        for slot in discovers.into_iter().flat_map(|discovers| discovers.slots) {
            if let Some(slot) = slot_field(slot, &vis, &fields, errors) {
                fields.push(slot);
            }
        }
        if fields.is_empty() && errors.is_empty() {
            let message = "a command needs a stream; write `#[stream]` above each field that names one, such as \
                           `#[stream] account: AccountId`";
            errors.at(&ident, message);
        }
        distinguish_variants(&mut fields, errors);
        for field in &fields {
            for ty in field.types().filter(|ty| generics::mentions_self(ty)) {
                errors.at(
                    ty,
                    format!(
                        "`Self` is another type in the generated types; write `{ident}` instead"
                    ),
                );
            }
        }

        let types = || fields.iter().flat_map(Field::types);
        let slot_types = fields
            .iter()
            .filter(|field| field.is_slot)
            .map(|field| &field.ty);
        Self {
            streams: streams.unwrap_or_else(|| joined(&ident, "Streams")),
            event: event.unwrap_or_else(|| joined(&ident, "Event")),
            lifetime: generics::fresh_lifetime(&generics, types()),
            field_generics: generics::used_by(&generics, types()),
            discovered: word.map(|word| Discovered {
                word,
                ident: discovered.unwrap_or_else(|| joined(&ident, "Discovered")),
                generics: generics::used_by(&generics, slot_types),
                known_streams: known_streams.unwrap_or_else(|| joined(&ident, "KnownStreams")),
            }),
            krate: krate.unwrap_or_else(default_crate),
            vis,
            ident,
            generics,
            fields,
        }
    }
}

fn struct_fields(ident: &Ident, data: Data, errors: &mut Errors) -> Vec<syn::Field> {
    let name = text(ident);
    let example = format!("write `struct {name} {{ #[stream] account: AccountId, … }}`");
    match data {
        Data::Struct(data) => match data.fields {
            Fields::Named(fields) => return fields.named.into_iter().collect(),
            Fields::Unnamed(fields) => {
                let message = format!(
                    "the streams of a command are named by fields, these have no names; {example}"
                );
                errors.at(fields, message);
            }
            Fields::Unit => errors.at(
                ident,
                format!("a command needs a stream, and this struct has no fields; {example}"),
            ),
        },
        Data::Enum(data) => {
            let message =
                format!("a command is a struct, not an enum; {example} for each of its variants");
            errors.at(data.enum_token, message);
        }
        Data::Union(data) => errors.at(
            data.union_token,
            format!("a command is a struct, not a union; {example}"),
        ),
    }
    Vec::new()
}

fn stream_field(field: syn::Field, errors: &mut Errors) -> Option<Field> {
    for attribute in named(&field.attrs, "command") {
        errors.at(
            attribute,
            "`#[command(…)]` belongs above the struct; a stream field is declared with `#[stream]`",
        );
    }
    let stream = parse::stream(&field.attrs, errors)?;
    let ident = field.ident?;
    if never_a_stream(&ident, &field.ty, &stream, errors) {
        return None;
    }
    Some(Field {
        name: text(&ident),
        variant: variant(&ident),
        docs: named(&field.attrs, "doc").cloned().collect(),
        vis: field.vis,
        ty: field.ty,
        read_only: stream.read.is_present(),
        event: stream.event,
        state: stream.state,
        is_slot: false,
        ident,
    })
}

fn slot_field(
    slot: Slot,
    vis: &Visibility,
    fields: &[Field],
    errors: &mut Errors,
) -> Option<Field> {
    let name = text(&slot.ident);
    let stream = parse::stream(&slot.attributes, errors).unwrap_or_default();
    if let Some(first) = fields.iter().find(|field| field.name == name) {
        let what = if first.is_slot {
            "slot"
        } else {
            "stream field"
        };
        errors.at(
            &slot.ident,
            format!("there is a {what} `{name}` already; give this slot another name"),
        );
        return None;
    }
    if never_a_stream(&slot.ident, &slot.ty, &stream, errors) {
        return None;
    }
    let mut docs: Vec<Attribute> = named(&slot.attributes, "doc").cloned().collect();
    if docs.is_empty() {
        let text = format!(" The slot `{name}`.");
        docs.push(syn::parse_quote!(#[doc = #text]));
    }
    Some(Field {
        name,
        variant: variant(&slot.ident),
        docs,
        vis: vis.clone(),
        ty: slot.ty,
        read_only: stream.read.is_present(),
        event: stream.event,
        state: stream.state,
        is_slot: true,
        ident: slot.ident,
    })
}

/// Returns `true`, and reports the field, if its type can never be a stream field.
///
/// The trait of its type decides what a field is, never its spelling. But `String` and the built-in
/// types cannot have this trait and are common mistakes: rustc would report the missing trait at
/// every mention of the generated types, whereas this reports one error.
fn never_a_stream(name: &Ident, ty: &Type, stream: &Stream, errors: &mut Errors) -> bool {
    let Some((around, foreign)) = foreign(ty) else {
        return false;
    };
    let name = text(name);
    let key = camel_case(name.strip_suffix("_id").unwrap_or(&name));
    let shown = |inner: &str| match &around {
        Some(around) => format!("{name}: {around}<{inner}>"),
        None => format!("{name}: {inner}"),
    };
    let field = shown(&format!("{key}Id"));
    let element = match foreign {
        Type::Array(TypeArray { elem, .. }) | Type::Slice(TypeSlice { elem, .. }) => Some(elem),
        _ => None,
    };
    let message = if stream.event.is_some() {
        let ids = match element {
            Some(_) => format!("{name}: Vec<StreamId>"),
            None => shown("StreamId"),
        };
        format!("with `event = …` the field holds raw stream ids; write `{ids}`")
    } else if let Some(element) = element {
        let element = element.to_token_stream();
        format!("a field for several streams is a `Vec` of keys; write `{name}: Vec<{element}>`")
    } else {
        match foreign {
            Type::Reference(_) => {
                format!("a stream field owns its key; write `{field}`, or what the reference is to")
            }
            Type::Path(_) => {
                let inner = foreign.to_token_stream();
                format!(
                    "this type names no stream; write `{field}`, with a key of its own: \
                     `#[derive(StreamKey)] #[stream_key(category = \"…\", event = …)] \
                     struct {key}Id({inner});`"
                )
            }
            _ => format!(
                "this type names no stream; write `{field}`, with a key of its own, around a type \
                 with `Display` and `FromStr`; or one field for each stream"
            ),
        }
    };
    errors.at(foreign, message);
    true
}

/// Returns a built-in type or `String`, and the `Option` or `Vec` around it.
///
/// This affects only the wording of a message, never code that compiles.
fn foreign(ty: &Type) -> Option<(Option<String>, &Type)> {
    const FOREIGN: &[&str] = &[
        "String", "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str",
        "u8", "u16", "u32", "u64", "u128", "usize",
    ];
    let path = match ty {
        Type::Path(TypePath {
            qself: None, path, ..
        }) => path,
        Type::Paren(inner) => return foreign(&inner.elem),
        Type::Array(_)
        | Type::Slice(_)
        | Type::Tuple(_)
        | Type::Reference(_)
        | Type::Ptr(_)
        | Type::Never(_) => return Some((None, ty)),
        _ => return None,
    };
    if path
        .get_ident()
        .is_some_and(|ident| FOREIGN.contains(&text(ident).as_str()))
    {
        return Some((None, ty));
    }
    let last = path.segments.last()?;
    let around = text(&last.ident);
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if around == "Option" || around == "Vec" => {
            let (None, inner) = foreign(inner)? else {
                return None;
            };
            Some((Some(around), inner))
        }
        _ => None,
    }
}

/// Converts the name of a field into that of a variant: `order_lines` → `OrderLines`.
fn variant(field: &Ident) -> Ident {
    let mut camel = camel_case(&text(field));
    if camel.starts_with(|first: char| first.is_ascii_digit()) {
        camel.insert(0, '_');
    } else if camel == "Self" {
        camel.push('_');
    }
    match syn::parse_str::<Ident>(&camel) {
        Ok(_) => Ident::new(&camel, field.span()),
        // The name consists of underscores only.
        Err(_) => field.clone(),
    }
}

fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    for word in name.split('_') {
        let mut chars = word.chars();
        camel.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        camel.push_str(chars.as_str());
    }
    camel
}

fn distinguish_variants(fields: &mut [Field], errors: &mut Errors) {
    let mut names: HashMap<String, String> = HashMap::new();
    for field in fields {
        let variant = field.variant.to_string();
        if let Some(first) = names.get(&variant) {
            let message = format!(
                "`{}` and `{first}` both become the variant `{variant}` of the event enum; rename one of them",
                field.name
            );
            errors.at(&field.ident, message);
            field.variant = joined(&field.variant, "_");
        }
        names.insert(field.variant.to_string(), field.name.clone());
    }
}
