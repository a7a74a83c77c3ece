//! The forms of a single argument, for `#[darling(with = …)]`.
//!
//! darling's own conversions also accept quoted text, and report "Unexpected type" for other
//! mistakes.

use darling::util::Flag;
use proc_macro2::{Span, TokenStream};
use syn::{
    Expr, LitStr, Meta, Path,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use super::tokens::parse_located;

/// Reads `name`, without a value.
pub(crate) fn flag(item: &Meta) -> darling::Result<Flag> {
    use darling::FromMeta;

    // `Flag` panics on `name()`.
    match item {
        Meta::Path(_) => Flag::from_meta(item),
        _ => Err(refused(
            item.path().span(),
            format!("`{}` takes no value", name(item)),
        )),
    }
}

/// Reads `name = T`.
pub(crate) fn value<T: Parse>(item: &Meta) -> darling::Result<Option<T>> {
    assigned(item, T::parse).map(Some)
}

/// Reads `name = path::to::a::module`.
pub(crate) fn path(item: &Meta) -> darling::Result<Option<Path>> {
    let parse = |input: ParseStream| {
        if input.peek(LitStr) {
            return Err(input.error("expected a path without quotes"));
        }
        let path = Path::parse_mod_style(input)?;
        if input.is_empty() {
            Ok(path)
        } else {
            Err(input.error("expected a path"))
        }
    };
    assigned(item, parse).map(Some)
}

/// The tokens in the parentheses of `name(…)`.
pub(crate) struct List {
    /// The span of `name`.
    pub(crate) word: Span,
    pub(crate) tokens: TokenStream,
}

/// Reads `name(…)`; the caller parses the tokens.
pub(crate) fn list(item: &Meta) -> darling::Result<Option<List>> {
    parenthesized(item).map(|tokens| {
        Some(List {
            word: item.path().span(),
            tokens: tokens.clone(),
        })
    })
}

/// Returns the tokens in the parentheses of `name(…)`.
pub(crate) fn parenthesized(item: &Meta) -> darling::Result<&TokenStream> {
    match item {
        Meta::List(list) => Ok(&list.tokens),
        Meta::Path(path) => Err(refused(path.span(), "expected parentheses")),
        Meta::NameValue(pair) => Err(refused(pair.eq_token.span, "expected parentheses")),
    }
}

/// Parses what follows `name =`.
pub(crate) fn assigned<T>(
    item: &Meta,
    parse: impl FnOnce(ParseStream) -> syn::Result<T>,
) -> darling::Result<T> {
    let missing = || refused(item.path().span(), "the value is missing");
    match item {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Verbatim(tokens) if tokens.is_empty() => Err(missing()),
            Expr::Verbatim(tokens) => Ok(parse_located(tokens.clone(), parse)?),
            // Not produced by `items`.
            other => Err(refused(other.span(), "unexpected value")),
        },
        Meta::Path(_) => Err(missing()),
        Meta::List(list) => Err(refused(list.delimiter.span().open(), "expected `=`")),
    }
}

/// Returns an error at `span`.
pub(crate) fn refused(span: Span, message: impl std::fmt::Display) -> darling::Error {
    syn::Error::new(span, message).into()
}

fn name(item: &Meta) -> String {
    item.path()
        .get_ident()
        .map(ToString::to_string)
        .unwrap_or_default()
}
