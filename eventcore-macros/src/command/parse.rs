//! Reads `#[stream(…)]` and `#[command(…)]`.

use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Attribute, Path, Token, Type,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

use crate::attributes::{Argument, Errors, Reader, assigned, assigned_path, named, parenthesized};

const STREAM: &[Argument] = &[
    Argument::once("read", "read"),
    Argument::once("event", "event = AccountEvent"),
];

const STREAM_HINTS: &[(&str, &str)] = &[
    (
        "write",
        "a plain `#[stream]` is read and appended to; write `#[stream]`",
    ),
    (
        "append",
        "a plain `#[stream]` is read and appended to; write `#[stream]`",
    ),
    ("read_only", "write `#[stream(read)]`"),
    ("readonly", "write `#[stream(read)]`"),
];

const COMMAND: &[Argument] = &[
    Argument::once("discovers", "discovers(payment: Option<PaymentId>)"),
    Argument::once("cached", "cached"),
    Argument::once("streams", "streams = MyStreams"),
    Argument::once("event", "event = MyEvent"),
    Argument::once("discovered", "discovered = MyDiscovered"),
    Argument::once("crate", "crate = path::to::eventcore"),
];

const COMMAND_HINTS: &[(&str, &str)] = &[
    (
        "stream",
        "streams are declared by fields; write `#[stream]` above a field of the struct",
    ),
    (
        "snapshot",
        "states are remembered in the process; write `#[command(cached)]`",
    ),
];

/// What `#[stream(…)]` says.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) read_only: bool,
    /// The events of a raw stream id.
    pub(super) event: Option<Type>,
}

/// `None` without `#[stream]`. A wrong one still makes a stream.
pub(super) fn stream(attributes: &[Attribute], errors: &mut Errors) -> Option<Stream> {
    let mut found = named(attributes, "stream");
    let first = found.next()?;
    for again in found {
        errors.at(again, "`#[stream]` is given twice; write it once, all arguments together: `#[stream(read, event = E)]`");
    }
    let mut stream = Stream::default();
    Reader::new("stream", STREAM)
        .bare()
        .hints(STREAM_HINTS)
        .read(first, errors, |name, word, value| {
            if name == "event" {
                stream.event = Some(assigned(value)?);
                return Ok(());
            }
            stream.read_only = true;
            if value.is_empty() || value.peek(Token![,]) {
                Ok(())
            } else {
                Err(syn::Error::new(word.span(), "`read` takes no value"))
            }
        });
    Some(stream)
}

/// What `#[command(…)]` says.
#[derive(Default)]
pub(super) struct Arguments {
    pub(super) discovers: Option<Discovers>,
    /// Where `cached` stands.
    pub(super) cached: Option<Span>,
    pub(super) streams: Option<Ident>,
    pub(super) event: Option<Ident>,
    pub(super) discovered: Option<Ident>,
    pub(super) krate: Option<Path>,
}

/// `discovers(…)`.
pub(super) struct Discovers {
    pub(super) word: Span,
    pub(super) slots: Vec<Slot>,
}

/// One slot in `discovers(…)`.
pub(super) struct Slot {
    pub(super) attributes: Vec<Attribute>,
    pub(super) ident: Ident,
    pub(super) ty: Type,
}

pub(super) fn command(attributes: &[Attribute], errors: &mut Errors) -> Arguments {
    let mut arguments = Arguments::default();
    let mut reader = Reader::new("command", COMMAND).hints(COMMAND_HINTS);
    let mut slots = None;
    for attribute in named(attributes, "command") {
        reader.read(attribute, errors, |name, word, value| {
            match name {
                "discovers" => slots = Some((word.span(), parenthesized(value)?)),
                "cached" => {
                    arguments.cached = Some(word.span());
                    if !value.is_empty() && !value.peek(Token![,]) {
                        return Err(syn::Error::new(word.span(), "`cached` takes no value"));
                    }
                }
                "streams" => arguments.streams = Some(assigned(value)?),
                "event" => arguments.event = Some(assigned(value)?),
                "discovered" => arguments.discovered = Some(assigned(value)?),
                _ => arguments.krate = Some(assigned_path(value)?),
            }
            Ok(())
        });
    }
    arguments.discovers = slots.map(|(word, tokens)| Discovers {
        word,
        slots: discovers(word, tokens, errors),
    });
    if let (None, Some(name)) = (&arguments.discovers, &arguments.discovered) {
        errors.at(
            name,
            "this command discovers no streams; remove `discovered = …`, or add `discovers(…)`",
        );
    }
    if let (Some(cached), Some(_)) = (arguments.cached, &arguments.discovers) {
        let message = "a command that discovers streams cannot be `cached`: which streams it has comes out of its \
                       state; remove `cached`";
        errors.push(syn::Error::new(cached, message));
    }
    for attribute in named(attributes, "stream") {
        errors.at(
            attribute,
            "`#[stream]` belongs above a field of the struct, not above the struct; move it there",
        );
    }
    arguments
}

fn discovers(word: Span, tokens: TokenStream, errors: &mut Errors) -> Vec<Slot> {
    let mut slots = Vec::new();
    if tokens.is_empty() {
        let message =
            "no slots are given; write `discovers(payment: Option<PaymentId>)`, or remove it";
        errors.push(syn::Error::new(word, message));
    }
    let read = |input: ParseStream| {
        while !input.is_empty() {
            slots.push(slot(input)?);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        let message =
            format!("{error}; write each slot like a field: `payment: Option<PaymentId>`");
        errors.push(syn::Error::new(error.span(), message));
    }
    slots
}

fn slot(input: ParseStream) -> syn::Result<Slot> {
    let attributes = Attribute::parse_outer(input)?;
    let ident = input.call(Ident::parse_any)?;
    if syn::parse_str::<Ident>(&ident.to_string()).is_err() {
        return Err(syn::Error::new(
            ident.span(),
            format!("`{ident}` is a keyword; write `r#{ident}`"),
        ));
    }
    if let Some(other) = attributes
        .iter()
        .find(|other| !other.path().is_ident("stream") && !other.path().is_ident("doc"))
    {
        return Err(syn::Error::new_spanned(
            other,
            "a slot takes `#[stream(…)]` and no other attribute",
        ));
    }
    input.parse::<Token![:]>()?;
    Ok(Slot {
        attributes,
        ident,
        ty: input.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many slots there are, and what is said about them.
    fn slots(tokens: &str) -> (usize, String) {
        let mut errors = Errors::default();
        let tokens = tokens.parse().expect("tokens");
        let slots = discovers(Span::call_site(), tokens, &mut errors);
        (slots.len(), quote::quote!(#errors).to_string())
    }

    #[test]
    fn a_slot_takes_comments_and_stream_and_no_other_attribute() {
        let commented = "/// Who pays.\n #[stream(read)] payer: Option<AccountId>";
        assert_eq!(slots(commented), (1, String::new()));
        let (count, said) = slots("#[serde(skip)] payer: Option<AccountId>");
        assert_eq!(count, 0);
        let refused = "a slot takes `#[stream(…)]` and no other attribute";
        assert!(said.contains(refused), "{said}");
    }
}
