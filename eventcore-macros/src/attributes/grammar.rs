//! The names and examples of an attribute's arguments, for use with the struct that darling fills.

use darling::{FromMeta, ast::NestedMeta};
use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, Meta};

use super::{
    Errors, form,
    items::{Item, items},
    suggest::closest,
    tokens::list,
};

/// The grammar of an attribute, or of an argument that has arguments of its own.
///
/// Each argument has one example, which begins with its name. The struct that darling fills must
/// have a field for each; [`assert_examples_are_read`](Self::assert_examples_are_read) tests it.
#[derive(Clone, Copy)]
pub(crate) struct Grammar {
    name: &'static str,
    examples: &'static [&'static str],
    /// Words that are not arguments, and the advice for each.
    hints: &'static [(&'static str, &'static str)],
    bare: bool,
    nested: bool,
}

impl Grammar {
    /// Creates the grammar of `#[name(…)]`.
    pub(crate) const fn new(name: &'static str, examples: &'static [&'static str]) -> Self {
        Self {
            name,
            examples,
            hints: &[],
            bare: false,
            nested: false,
        }
    }

    /// Creates the grammar of `name(…)`, an argument of an attribute.
    pub(crate) const fn nested(name: &'static str, examples: &'static [&'static str]) -> Self {
        Self {
            nested: true,
            ..Self::new(name, examples)
        }
    }

    /// Allows the attribute without arguments.
    pub(crate) const fn bare(self) -> Self {
        Self { bare: true, ..self }
    }

    pub(crate) const fn hints(self, hints: &'static [(&'static str, &'static str)]) -> Self {
        Self { hints, ..self }
    }

    /// Reads the attributes on one item into one struct. An argument with a mistake is reported and
    /// left out.
    pub(crate) fn read<'a, T: FromMeta + Default>(
        &self,
        attributes: impl IntoIterator<Item = &'a Attribute>,
        errors: &mut Errors,
    ) -> T {
        let mut filled = Filled::default();
        for attribute in attributes {
            match &attribute.meta {
                Meta::List(list) if list.tokens.is_empty() => errors.at(
                    attribute,
                    format!("the parentheses are empty; write {}", self.usage()),
                ),
                Meta::List(list) => filled.add(self, list.tokens.clone(), errors),
                Meta::Path(_) if self.bare => {}
                Meta::Path(_) => errors.at(
                    attribute,
                    format!("this attribute needs arguments: {}", self.usage()),
                ),
                Meta::NameValue(pair) => errors.at(
                    quote!(#pair),
                    format!("this attribute takes no `= value`; write {}", self.usage()),
                ),
            }
        }
        filled.value
    }

    /// Reads the list of an argument. The example of that argument is appended to its errors.
    pub(crate) fn read_nested<T: FromMeta + Default>(&self, item: &Meta) -> darling::Result<T> {
        let mut errors = Errors::default();
        let mut filled = Filled::default();
        filled.add(self, form::parenthesized(item)?.clone(), &mut errors);
        errors.finish().map(|()| filled.value)
    }

    /// Returns the example of the argument `word`.
    fn example(&self, word: &str) -> Option<&'static str> {
        self.examples
            .iter()
            .copied()
            .find(|example| name(example) == word)
    }

    fn unknown(&self, word: &Ident) -> String {
        let word = word.to_string();
        let meant = closest(&word, self.examples.iter().map(|example| name(example)));
        if self.nested {
            return match meant {
                Some(meant) => format!("unknown argument `{word}` (did you mean `{meant}`?)"),
                None => format!("unknown argument `{word}`"),
            };
        }
        let unknown = format!("unknown argument `{word}` of `#[{}]`", self.name);
        if let Some((meant, example)) = meant.and_then(|name| Some((name, self.example(name)?))) {
            let usage = self.with(example);
            return format!("{unknown}: did you mean `{meant}`? Write {usage}");
        }
        let meant = closest(&word, self.hints.iter().map(|(word, _)| *word));
        match self.hints.iter().find(|(word, _)| Some(*word) == meant) {
            Some((_, hint)) => format!("{unknown}: {hint}"),
            None => format!("{unknown}: it takes {}", self.usage()),
        }
    }

    /// Returns the advice that follows an error in the argument of this example.
    fn remedy(&self, example: &str) -> String {
        if self.nested {
            String::new()
        } else {
            format!("; write `{example}`")
        }
    }

    fn with(&self, arguments: &str) -> String {
        format!("`#[{}({arguments})]`", self.name)
    }

    /// Returns all ways to write the attribute.
    fn usage(&self) -> String {
        let bare = self.bare.then(|| format!("`#[{}]`", self.name));
        let others = self.examples.iter().map(|example| self.with(example));
        list(bare.into_iter().chain(others))
    }

    /// Returns the error for a missing argument name.
    fn nameless(&self) -> String {
        let expected = "expected the name of an argument";
        if self.nested {
            expected.to_owned()
        } else {
            format!("{expected}; write {}", self.usage())
        }
    }

    /// Asserts that darling reads each example, both alone and together in one list.
    #[cfg(test)]
    pub(crate) fn assert_examples_are_read<T: FromMeta + Default>(&self) {
        let all = self.examples.join(", ");
        for list in self.examples.iter().copied().chain([all.as_str()]) {
            let (mut errors, mut filled) = (Errors::default(), Filled::<T>::default());
            filled.add(self, list.parse().expect("tokens"), &mut errors);
            let none: [String; 0] = [];
            assert_eq!(errors.messages(), none, "{list}");
            assert!(!filled.items.is_empty(), "{list}");
        }
    }
}

/// Returns the word that an example begins with.
fn name(example: &str) -> &str {
    let end = example.find(|c: char| c != '_' && !c.is_alphanumeric());
    example.split_at(end.unwrap_or(example.len())).0
}

/// A struct, and the arguments from which it was filled.
struct Filled<T> {
    items: Vec<NestedMeta>,
    value: T,
}

impl<T: Default> Default for Filled<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            value: T::default(),
        }
    }
}

impl<T: FromMeta> Filled<T> {
    fn add(&mut self, grammar: &Grammar, tokens: TokenStream, errors: &mut Errors) {
        for item in items(tokens) {
            match item {
                Ok(item) => self.add_item(grammar, item, errors),
                Err(place) => errors.at_span(place, grammar.nameless()),
            }
        }
    }

    fn add_item(&mut self, grammar: &Grammar, item: Item, errors: &mut Errors) {
        let Item {
            word,
            meta,
            surplus,
        } = item;
        let Some(example) = grammar.example(&word.to_string()) else {
            return errors.at_span(word.span(), grammar.unknown(&word));
        };
        let remedy = grammar.remedy(example);
        let only_word = matches!(meta, Meta::Path(_));
        let item = NestedMeta::Meta(meta);
        // Each argument is read alone, so that a mistake affects only that argument: darling reads
        // all or nothing.
        let alone = T::from_list(std::slice::from_ref(&item));
        if let Some(place) = surplus {
            let expected = match (only_word, example) {
                (true, _) if example.contains('(') => "parentheses",
                (true, _) if example.contains('=') => "`=`",
                _ => "`,`",
            };
            errors.at_span(place, format!("expected {expected}{remedy}"));
        }
        match alone {
            Ok(_) => {}
            Err(_) if surplus.is_some() => return,
            Err(refused) => {
                for error in refused.flatten() {
                    // darling's `Display` adds the path of the field, which the span already shows.
                    let error = syn::Error::from(error);
                    errors.at_span(error.span(), format!("{error}{remedy}"));
                }
                return;
            }
        }
        self.items.push(item);
        if let Ok(value) = T::from_list(&self.items) {
            self.value = value;
        } else {
            // Every item is correct on its own, so this one is a repetition.
            self.items.pop();
            errors.at_span(
                word.span(),
                format!("`{word}` is given twice; remove one of them"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use darling::util::Flag;
    use syn::parse::Parser;

    use super::*;

    const TEST: Grammar = Grammar::new("test", &["once", "many", "value = Type", "list(a)"]);

    #[derive(Default, FromMeta)]
    #[darling(default)]
    struct Test {
        #[darling(with = form::flag)]
        once: Flag,
        #[darling(multiple, with = form::flag)]
        many: Vec<Flag>,
        #[darling(with = form::value)]
        value: Option<syn::Type>,
        #[darling(with = form::list)]
        list: Option<form::List>,
    }

    /// Returns the messages about `attribute`, and the arguments that were read.
    fn read(attribute: &str, grammar: Grammar) -> (Vec<String>, String) {
        let attributes = Attribute::parse_outer
            .parse_str(attribute)
            .expect("an attribute");
        let mut errors = Errors::default();
        let test: Test = grammar.read(&attributes, &mut errors);
        let mut read = vec!["once"; usize::from(test.once.is_present())];
        read.extend(test.many.iter().map(|_| "many"));
        let value = test.value.map(|value| quote!(#value).to_string());
        let list = test.list.map(|list| format!("list({})", list.tokens));
        read.extend(value.as_deref());
        read.extend(list.as_deref());
        (errors.messages(), read.join(" "))
    }

    #[test]
    fn an_example_of_each_argument_is_read() {
        TEST.assert_examples_are_read::<Test>();
    }

    #[test]
    fn an_attribute_without_arguments_is_an_error_where_it_says_nothing() {
        assert_eq!(read("#[test]", TEST.bare()), (vec![], String::new()));
        let (said, _) = read("#[test]", TEST);
        let usage = "this attribute needs arguments: `#[test(once)]`, `#[test(many)]`, \
                     `#[test(value = Type)]` or `#[test(list(a))]`";
        assert_eq!(said, [usage]);
    }

    #[test]
    fn after_an_error_it_goes_on_behind_the_next_comma() {
        let (said, read) = read("#[test(once 1 2, many, once, 3 4, many)]", TEST);
        assert_eq!(read, "once many many");
        assert_eq!(
            said,
            [
                "expected `,`; write `once`",
                "`once` is given twice; remove one of them",
                "expected the name of an argument; write `#[test(once)]`, `#[test(many)]`, \
                 `#[test(value = Type)]` or `#[test(list(a))]`",
            ]
        );
    }

    #[test]
    fn arguments_of_several_attributes_are_those_of_one() {
        let (said, read) = read("#[test(once, many)] #[test(many, once)]", TEST);
        assert_eq!(read, "once many many");
        assert_eq!(said, ["`once` is given twice; remove one of them"]);
    }

    #[test]
    fn a_comma_in_a_type_does_not_end_the_value() {
        for value in [
            "Foo < A , B >",
            "< A as B < C , D >> :: E",
            "(A , B)",
            "& 'static str",
            "fn (A , B) -> C",
        ] {
            let (said, read) = read(&format!("#[test(value = {value}, once)]"), TEST);
            let none: [String; 0] = [];
            assert_eq!(said, none, "{value}");
            assert!(read.starts_with("once "), "{value}");
        }
    }

    /// The location of a mistake comes from `syn` or from this module; the example follows in both
    /// cases.
    #[test]
    fn a_mistake_in_an_argument_is_told_with_its_example_and_costs_only_that_argument() {
        for (argument, said) in [
            ("value", "the value is missing; write `value = Type`"),
            ("value =", "the value is missing; write `value = Type`"),
            ("value: A", "expected `=`; write `value = Type`"),
            ("value(A)", "expected `=`; write `value = Type`"),
            ("value = A B", "unexpected token; write `value = Type`"),
            ("list", "expected parentheses; write `list(a)`"),
            ("list = a", "expected parentheses; write `list(a)`"),
            ("list[a]", "expected parentheses; write `list(a)`"),
            ("list(a) b", "expected `,`; write `list(a)`"),
            ("once()", "`once` takes no value; write `once`"),
            ("once = 1", "`once` takes no value; write `once`"),
            (
                "valu = A",
                "unknown argument `valu` of `#[test]`: did you mean `value`? \
                 Write `#[test(value = Type)]`",
            ),
        ] {
            let (messages, read) = read(&format!("#[test(many, {argument}, many)]"), TEST);
            assert_eq!(messages, [said], "{argument}");
            assert!(read.starts_with("many many"), "{argument}: {read}");
        }
    }

    /// A refused value does not count as the first of two.
    #[test]
    fn a_second_value_is_used_if_the_first_is_wrong() {
        let (said, read) = read("#[test(value = 5, value = A)]", TEST);
        assert_eq!(read, "A");
        assert_eq!(said.len(), 1, "{said:?}");
    }
}
