//! What the derives share: reading `#[name(argument, …)]` with all errors at once, and small helpers for expansion.
//!
//! This module does not know what the arguments mean.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{
    Attribute, Meta, Path, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
    spanned::Spanned,
};

/// All errors of one derive, each on the tokens that caused it.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.as_ref().map(syn::Error::to_compile_error));
    }
}

/// One argument that an attribute takes.
pub(crate) struct Argument {
    pub(crate) name: &'static str,
    /// How it is written, for messages.
    pub(crate) example: &'static str,
    pub(crate) repeats: bool,
}

impl Argument {
    pub(crate) const fn once(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            example,
            repeats: false,
        }
    }

    pub(crate) const fn repeated(name: &'static str, example: &'static str) -> Self {
        Self {
            name,
            example,
            repeats: true,
        }
    }
}

/// Reads the attributes of one name that stand on one item.
pub(crate) struct Reader<'a> {
    attribute: &'static str,
    arguments: &'a [Argument],
    /// Words that are no argument and what to write instead.
    hints: &'a [(&'static str, &'static str)],
    bare: bool,
    seen: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(attribute: &'static str, arguments: &'a [Argument]) -> Self {
        Self {
            attribute,
            arguments,
            hints: &[],
            bare: false,
            seen: Vec::new(),
        }
    }

    /// The attribute may stand without arguments.
    pub(crate) fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    pub(crate) fn hints(self, hints: &'a [(&'static str, &'static str)]) -> Self {
        Self { hints, ..self }
    }

    /// Calls `read` with the name of each argument, and with what follows it. After an error it goes on behind the
    /// next comma.
    pub(crate) fn read(
        &mut self,
        attribute: &Attribute,
        errors: &mut Errors,
        mut read: impl FnMut(&'static str, &Ident, ParseStream) -> syn::Result<()>,
    ) {
        let list = match &attribute.meta {
            Meta::List(list) => list,
            Meta::Path(_) if self.bare => return,
            Meta::Path(_) => {
                return errors.at(
                    attribute,
                    format!("this attribute needs arguments: {}", self.usage()),
                );
            }
            Meta::NameValue(pair) => {
                let value = quote!(#pair);
                return errors.at(
                    value,
                    format!("this attribute takes no `= value`; write {}", self.usage()),
                );
            }
        };
        if list.tokens.is_empty() {
            return errors.at(
                attribute,
                format!("the parentheses are empty; write {}", self.usage()),
            );
        }
        let arguments = |input: ParseStream| {
            while !input.is_empty() {
                if let Err(error) = self.argument(input, &mut read) {
                    errors.push(error);
                    skip_argument(input)?;
                }
                if !input.is_empty()
                    && let Err(error) = input.parse::<Token![,]>()
                {
                    errors.push(error);
                    skip_argument(input)?;
                    input.parse::<Option<Token![,]>>()?;
                }
            }
            Ok(())
        };
        let result = arguments.parse2(list.tokens.clone());
        if let Err(error) = result {
            errors.push(error);
        }
    }

    fn argument(
        &mut self,
        input: ParseStream,
        read: &mut impl FnMut(&'static str, &Ident, ParseStream) -> syn::Result<()>,
    ) -> syn::Result<()> {
        let Ok(word) = Ident::parse_any(input) else {
            return Err(input.error(format!(
                "expected the name of an argument; write {}",
                self.usage()
            )));
        };
        let name = word.unraw().to_string();
        let Some(argument) = self.arguments.iter().find(|argument| argument.name == name) else {
            return Err(syn::Error::new(word.span(), self.unknown(&name)));
        };
        if !argument.repeats && self.seen.contains(&argument.name) {
            return Err(syn::Error::new(
                word.span(),
                format!("`{name}` is given twice; remove one of them"),
            ));
        }
        self.seen.push(argument.name);
        read(argument.name, &word, input).map_err(|error| {
            let message = format!("{error}; write `{}`", argument.example);
            let mut located = syn::Error::new(error.span(), message);
            // Errors that were already combined keep their own words.
            for other in error.into_iter().skip(1) {
                located.combine(other);
            }
            located
        })
    }

    fn unknown(&self, name: &str) -> String {
        let unknown = format!("unknown argument `{name}` of `#[{}]`", self.attribute);
        let names = self.arguments.iter().map(|argument| argument.name);
        if let Some(meant) = closest(name, names) {
            return format!(
                "{unknown}: did you mean `{meant}`? It takes {}",
                self.usage()
            );
        }
        let meant = closest(name, self.hints.iter().map(|(word, _)| *word));
        match self.hints.iter().find(|(word, _)| Some(*word) == meant) {
            Some((_, hint)) => format!("{unknown}: {hint}"),
            None => format!("{unknown}: it takes {}", self.usage()),
        }
    }

    /// Every way to write the attribute.
    fn usage(&self) -> String {
        let attribute = self.attribute;
        let bare = self.bare.then(|| format!("`#[{attribute}]`"));
        let others = self
            .arguments
            .iter()
            .map(|argument| format!("`#[{attribute}({})]`", argument.example));
        list(bare.into_iter().chain(others))
    }
}

/// `a, b or c`.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    let mut items: Vec<String> = items.collect();
    match items.pop() {
        Some(last) if !items.is_empty() => format!("{} or {last}", items.join(", ")),
        last => last.unwrap_or_default(),
    }
}

fn skip_argument(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// What stands behind `name =`.
pub(crate) fn assigned<T: syn::parse::Parse>(input: ParseStream) -> syn::Result<T> {
    input.parse::<Token![=]>()?;
    input.parse()
}

/// What stands behind `crate =`.
pub(crate) fn assigned_path(input: ParseStream) -> syn::Result<Path> {
    input.parse::<Token![=]>()?;
    if input.peek(syn::LitStr) {
        return Err(input.error("expected a path without quotes"));
    }
    let path = Path::parse_mod_style(input)?;
    if input.is_empty() || input.peek(Token![,]) {
        Ok(path)
    } else {
        Err(input.error("expected a path"))
    }
}

/// The tokens in the parentheses behind an argument's name.
pub(crate) fn parenthesized(input: ParseStream) -> syn::Result<TokenStream> {
    let content;
    syn::parenthesized!(content in input);
    content.parse()
}

/// The attributes of this name.
pub(crate) fn named<'a>(
    attributes: &'a [Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a Attribute> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(name))
}

/// `::eventcore`, where no other path is given.
pub(crate) fn default_crate() -> Path {
    syn::parse_quote!(::eventcore)
}

/// Where `tokens` stand, as code of the derive: errors point there, lints do not.
pub(crate) fn location(tokens: &impl ToTokens) -> Span {
    Span::call_site().located_at(tokens.span())
}

/// The name at another place.
pub(crate) fn ident_at(ident: &Ident, span: Span) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(span);
    ident
}

/// The name as it is stored and shown, without `r#`.
pub(crate) fn text(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// `prefix` and `suffix` in one name, at the place of `prefix`.
pub(crate) fn joined(prefix: &Ident, suffix: &str) -> Ident {
    Ident::new(&format!("{}{suffix}", prefix.unraw()), prefix.span())
}

/// A doc comment.
pub(crate) fn doc(text: &str) -> TokenStream {
    let text = format!(" {text}");
    quote!(#[doc = #text])
}

/// The path at another place, so that an error in what follows it points there.
pub(crate) fn path_at(path: &Path, span: Span) -> TokenStream {
    let respan = |mut token: TokenTree| {
        token.set_span(span);
        token
    };
    path.to_token_stream().into_iter().map(respan).collect()
}

/// The candidate that `word` is probably a misspelling of.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters to insert, remove or replace to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (line, x) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (line, line + 1);
        let mut cells = row.iter_mut();
        if let Some(first) = cells.next() {
            *first = left;
        }
        for (cell, y) in cells.zip(b.chars()) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelling_is_recognized_and_another_word_is_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("ab", ""), 2);
        assert_eq!(distance("a", "abc"), 2);
        let names = ["read", "event", "discovers"];
        assert_eq!(closest("reed", names.into_iter()), Some("read"));
        assert_eq!(closest("discover", names.into_iter()), Some("discovers"));
        assert_eq!(closest("write", names.into_iter()), None);
    }

    /// What is said about `attribute`, which takes `once` and `many`, and the arguments that were read of it.
    fn read(attribute: &str, bare: bool) -> (Vec<String>, Vec<&'static str>) {
        let arguments = [
            Argument::once("once", "once"),
            Argument::repeated("many", "many"),
        ];
        let reader = Reader::new("test", &arguments);
        let mut reader = if bare { reader.bare() } else { reader };
        let attributes = Attribute::parse_outer
            .parse_str(attribute)
            .expect("an attribute");
        let (mut errors, mut names) = (Errors::default(), Vec::new());
        for attribute in &attributes {
            reader.read(attribute, &mut errors, |name, _, _| {
                names.push(name);
                Ok(())
            });
        }
        let said = errors.0.into_iter().flatten();
        (said.map(|error| error.to_string()).collect(), names)
    }

    #[test]
    fn an_attribute_without_arguments_is_an_error_where_it_says_nothing() {
        assert_eq!(read("#[test]", true), (vec![], vec![]));
        let (said, _) = read("#[test]", false);
        let usage = "this attribute needs arguments: `#[test(once)]` or `#[test(many)]`";
        assert_eq!(said, [usage]);
    }

    #[test]
    fn after_an_error_it_goes_on_behind_the_next_comma() {
        let (said, names) = read("#[test(once 1 2, many, once, 3 4, many)]", false);
        assert_eq!(names, ["once", "many", "many"]);
        assert_eq!(
            said,
            [
                "expected `,`",
                "`once` is given twice; remove one of them",
                "expected the name of an argument; write `#[test(once)]` or `#[test(many)]`",
            ]
        );
    }
}
