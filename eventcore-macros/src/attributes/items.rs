//! Splits the list of an attribute into arguments.
//!
//! darling would lose the whole list because of one syntax error. Here, a mistake affects only the
//! argument that contains it.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::{
    Expr, MacroDelimiter, Meta, MetaList, MetaNameValue, Path, Token, Type,
    ext::IdentExt,
    parse::{ParseBuffer, ParseStream, Parser, discouraged::Speculative},
    token::Paren,
};

/// One argument: `word`, `word = value` or `word(…)`.
pub(super) struct Item {
    pub(super) word: Ident,
    pub(super) meta: Meta,
    /// The first token after the argument, if it is not a comma.
    pub(super) surplus: Option<Span>,
}

/// Returns the arguments in `tokens`, each with a name; or the span at which a name was expected.
pub(super) fn items(tokens: TokenStream) -> Vec<Result<Item, Span>> {
    let mut items = Vec::new();
    let read = |input: ParseStream| {
        while !input.is_empty() {
            items.push(item(input)?);
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    // `item` consumes everything up to the next comma, whatever it is.
    let result: syn::Result<()> = read.parse2(tokens);
    if let Err(error) = result {
        items.push(Err(error.span()));
    }
    items
}

fn item(input: ParseStream) -> syn::Result<Result<Item, Span>> {
    let Ok(word) = Ident::parse_any(input) else {
        let place = input.span();
        skip(input)?;
        return Ok(Err(place));
    };
    let word = word.unraw();
    let path = Path::from(word.clone());
    let meta = if input.peek(Token![=]) {
        Meta::NameValue(MetaNameValue {
            path,
            eq_token: input.parse()?,
            value: Expr::Verbatim(value(input)?),
        })
    } else if input.peek(Paren) {
        let content;
        let delimiter = MacroDelimiter::Paren(syn::parenthesized!(content in input));
        Meta::List(MetaList {
            path,
            delimiter,
            tokens: content.parse()?,
        })
    } else {
        Meta::Path(path)
    };
    let surplus = (!is_end(input)).then(|| input.span());
    skip(input)?;
    Ok(Ok(Item {
        word,
        meta,
        surplus,
    }))
}

/// Reads the tokens of a value. A comma ends it, unless it is inside a type or an expression, as in
/// `Foo<A, B>`.
fn value(input: ParseStream) -> syn::Result<TokenStream> {
    let ends = [
        after(input, |ahead| ahead.parse::<Type>().is_ok()),
        after(input, |ahead| ahead.parse::<Expr>().is_ok()),
    ];
    match ends.into_iter().flatten().next() {
        Some(end) => {
            let start = input.cursor();
            input.advance_to(&end);
            let (mut rest, mut tokens) = (start, TokenStream::new());
            while rest != end.cursor()
                && let Some((token, next)) = rest.token_tree()
            {
                tokens.extend([token]);
                rest = next;
            }
            Ok(tokens)
        }
        None => skip(input),
    }
}

/// Returns the input that follows what `parse` accepts, if the argument ends there.
fn after(
    input: ParseStream<'_>,
    parse: impl FnOnce(ParseStream) -> bool,
) -> Option<ParseBuffer<'_>> {
    let ahead = input.fork();
    (parse(&ahead) && is_end(&ahead)).then_some(ahead)
}

fn is_end(input: ParseStream) -> bool {
    input.is_empty() || input.peek(Token![,])
}

/// Consumes the tokens up to the next comma.
fn skip(input: ParseStream) -> syn::Result<TokenStream> {
    let mut skipped = TokenStream::new();
    while !is_end(input) {
        skipped.extend([input.parse::<TokenTree>()?]);
    }
    Ok(skipped)
}
