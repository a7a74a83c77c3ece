//! Reads `#[stream(…)]` and `#[command(…)]`.

use darling::{FromMeta, util::Flag};
use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Attribute, Path, Token, Type,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

use crate::attributes::{Errors, Grammar, form, named};

const STREAM: Grammar = Grammar::new(
    "stream",
    &["read", "event = AccountEvent", "state = Account"],
)
.bare()
.hints(&[
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
]);

/// The arguments of `#[stream(…)]`.
#[derive(Default, FromMeta)]
#[darling(default)]
pub(super) struct Stream {
    /// The stream is guarded against concurrent change, and never appended to.
    #[darling(with = form::flag)]
    pub(super) read: Flag,
    /// The event type of a raw stream id.
    #[darling(with = form::value)]
    pub(super) event: Option<Type>,
    /// The state of the stream of a raw stream id.
    #[darling(with = form::value)]
    pub(super) state: Option<Type>,
}

/// Reads `#[stream]`; returns `None` for a field without it. An incorrect attribute still declares
/// a stream.
pub(super) fn stream(attributes: &[Attribute], errors: &mut Errors) -> Option<Stream> {
    let mut found = named(attributes, "stream");
    let first = found.next()?;
    for again in found {
        errors.at(
            again,
            "`#[stream]` is given twice; write it once, all arguments together: \
             `#[stream(read, event = E)]`",
        );
    }
    let stream: Stream = STREAM.read([first], errors);
    if let (Some(state), None) = (&stream.state, &stream.event) {
        errors.at(
            state,
            "the state of a stream is named by its key, `#[stream_key(…, state = …)]`; here it goes with the event type of a \
             raw `StreamId`: write `#[stream(event = MyEvent, state = MyState)]`, or remove `state = …`",
        );
    }
    Some(stream)
}

const COMMAND: Grammar = Grammar::new(
    "command",
    &[
        "discovers(payment: Option<PaymentId>)",
        "streams = MyStreams",
        "event = MyEvent",
        "discovered = MyDiscovered",
        "known_streams = MyKnownStreams",
        "crate = path::to::eventcore",
    ],
)
.hints(&[
    (
        "stream",
        "streams are declared by fields; write `#[stream]` above a field of the struct",
    ),
    (
        "cached",
        "the states of streams are cached by themselves; give their key a state with `#[stream_key(…, state = …)]`",
    ),
    (
        "snapshot",
        "snapshots are of streams; write `#[stream_key(…, state = …, snapshot(revision = 1))]` above their key",
    ),
    (
        "state",
        "the state of a stream is named by its key: `#[stream_key(…, state = …)]`; a command's own is `type State`",
    ),
]);

/// The arguments of `#[command(…)]`.
#[derive(Default, FromMeta)]
#[darling(default)]
pub(super) struct Arguments {
    /// Slots for the streams that `StreamResolver` finds.
    #[darling(with = form::list)]
    discovers: Option<form::List>,
    /// The name of the struct of handles, if not `…Streams`.
    #[darling(with = form::value)]
    pub(super) streams: Option<Ident>,
    /// The name of the event enum, if not `…Event`.
    #[darling(with = form::value)]
    pub(super) event: Option<Ident>,
    /// The name of the struct of slots, if not `…Discovered`.
    #[darling(with = form::value)]
    pub(super) discovered: Option<Ident>,
    /// The name of the struct of read-only handles, if not `…KnownStreams`.
    #[darling(with = form::value)]
    pub(super) known_streams: Option<Ident>,
    /// The path of this library, if not `::eventcore`.
    #[darling(rename = "crate", with = form::path)]
    pub(super) krate: Option<Path>,
}

/// The slots in `discovers(…)`.
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

/// Reads `#[command(…)]`, and the slots in its `discovers`.
pub(super) fn command(
    attributes: &[Attribute],
    errors: &mut Errors,
) -> (Arguments, Option<Discovers>) {
    let mut arguments: Arguments = COMMAND.read(named(attributes, "command"), errors);
    let slots = arguments.discovers.take();
    let discovers = slots.map(|form::List { word, tokens }| Discovers {
        word,
        slots: discovers(word, tokens, errors),
    });
    if let (None, Some(name)) = (&discovers, &arguments.discovered) {
        errors.at(
            name,
            "this command discovers no streams; remove `discovered = …`, or add `discovers(…)`",
        );
    }
    if let (None, Some(name)) = (&discovers, &arguments.known_streams) {
        errors.at(
            name,
            "this command discovers no streams; remove `known_streams = …`, or add `discovers(…)`",
        );
    }
    for attribute in named(attributes, "stream") {
        errors.at(
            attribute,
            "`#[stream]` belongs above a field of the struct, not above the struct; move it there",
        );
    }
    (arguments, discovers)
}

fn discovers(word: Span, tokens: TokenStream, errors: &mut Errors) -> Vec<Slot> {
    let mut slots = Vec::new();
    if tokens.is_empty() {
        let message =
            "no slots are given; write `discovers(payment: Option<PaymentId>)`, or remove it";
        errors.at_span(word, message);
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
        errors.at_span(error.span(), message);
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

    #[test]
    fn the_examples_of_each_grammar_are_read() {
        STREAM.assert_examples_are_read::<Stream>();
        COMMAND.assert_examples_are_read::<Arguments>();
    }

    /// Returns the number of slots and the error messages about them.
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
