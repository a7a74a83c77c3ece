//! Small helpers for names, spans and text in generated code.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Path,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    spanned::Spanned,
};

/// Returns `::eventcore`, the path for items that name no other.
pub(crate) fn default_crate() -> Path {
    syn::parse_quote!(::eventcore)
}

/// Returns the span of `tokens` with the hygiene of the derive: errors point there, lints do not.
pub(crate) fn location(tokens: &impl ToTokens) -> Span {
    Span::call_site().located_at(tokens.span())
}

/// Returns the same name with another span.
pub(crate) fn ident_at(ident: &Ident, span: Span) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(span);
    ident
}

/// Returns the name as it is stored and displayed, without `r#`.
pub(crate) fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Joins `prefix` and `suffix` into one name, with the span of `prefix`.
pub(crate) fn joined(prefix: &Ident, suffix: &str) -> Ident {
    Ident::new(&format!("{}{suffix}", prefix.unraw()), prefix.span())
}

/// Returns a doc comment.
pub(crate) fn doc(text: &str) -> TokenStream {
    let text = format!(" {text}");
    quote!(#[doc = #text])
}

/// Returns the path with another span, so that an error in the code after it points there.
pub(crate) fn path_at(path: &Path, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    path.to_token_stream().into_iter().map(respan).collect()
}

/// Formats a list as `a, b or c`.
pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    match items.pop() {
        Some(last) if !items.is_empty() => format!("{} or {last}", items.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// Parses all of `tokens`. If they end too early, the error points to the last of them; `syn` would
/// point to the derive.
pub(crate) fn parse_located<T>(
    tokens: TokenStream,
    parse: impl FnOnce(ParseStream) -> syn::Result<T>,
) -> syn::Result<T> {
    let end = tokens.clone().into_iter().last();
    let mut group = Group::new(Delimiter::Parenthesis, tokens);
    group.set_span(end.map_or_else(Span::call_site, |token| token.span()));
    let inside = |input: ParseStream| {
        let content;
        syn::parenthesized!(content in input);
        let parsed = parse(&content)?;
        if content.is_empty() {
            Ok(parsed)
        } else {
            Err(content.error("unexpected token"))
        }
    };
    inside.parse2(TokenTree::from(group).into())
}
