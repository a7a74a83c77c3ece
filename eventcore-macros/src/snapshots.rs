//! Tests that compare the expansions of `ui-tests/expand/*.rs` with those committed beside them.
//! `UPDATE_SNAPSHOTS=1` rewrites them.

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Group, TokenStream, TokenTree};
use proptest::{prelude::*, test_runner::TestRunner};
use quote::{ToTokens, quote};
use syn::{
    Attribute, DeriveInput, Item, Meta, Token,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::{command, event, event_feed, read, stream_key};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui-tests/expand")
}

/// Returns the formatted expansions of all our derives in a file.
fn expand(source: &str) -> String {
    let file = syn::parse_file(source).unwrap();
    let mut code = TokenStream::new();
    for item in file.items {
        let attributes = match &item {
            Item::Struct(item) => &item.attrs,
            Item::Enum(item) => &item.attrs,
            _ => continue,
        };
        for name in attributes.iter().flat_map(derived) {
            let input: DeriveInput = syn::parse2(item.to_token_stream()).unwrap();
            code.extend(match name.as_str() {
                "Command" => command::expand(input),
                "EventFeed" => event_feed::expand(input),
                "Event" => event::expand(input),
                "StreamKey" => stream_key::expand(input),
                _ => continue,
            });
        }
    }
    prettyplease::unparse(&syn::parse2(code).unwrap())
}

fn derived(attribute: &Attribute) -> Vec<String> {
    let Meta::List(list) = &attribute.meta else {
        return Vec::new();
    };
    if !list.path.is_ident("derive") {
        return Vec::new();
    }
    let paths = list
        .parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated)
        .unwrap();
    paths
        .iter()
        .filter_map(|path| path.segments.last())
        .map(|segment| segment.ident.to_string())
        .collect()
}

#[test]
fn expansions_are_as_committed() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut cases = 0;
    let mut different = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.ends_with(".expanded.rs")
            || path.extension().is_none_or(|extension| extension != "rs")
        {
            continue;
        }
        cases += 1;
        let first = format!("//! The expansion of the derives in `{name}`.\n\n");
        let expanded = first + &expand(&fs::read_to_string(&path).unwrap());
        let snapshot = path.with_extension("expanded.rs");
        if update {
            fs::write(&snapshot, &expanded).unwrap();
        } else if fs::read_to_string(&snapshot).unwrap_or_default() != expanded {
            different.push(format!("{name} expands to\n{expanded}"));
        }
    }
    assert!(cases > 0, "there are no cases in {}", folder().display());
    assert!(
        different.is_empty(),
        "run with UPDATE_SNAPSHOTS=1 and review:\n{}",
        different.join("\n")
    );
}

/// The method calls in a piece of code.
#[derive(Default)]
struct MethodCalls(Vec<String>);

impl<'ast> Visit<'ast> for MethodCalls {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.0.push(call.to_token_stream().to_string());
        visit::visit_expr_method_call(self, call);
    }
}

/// A user's trait with a method of the same name could otherwise be called instead.
#[test]
fn generated_code_calls_no_method() {
    let mut cases = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".expanded.rs") {
            continue;
        }
        cases += 1;
        let expanded = expand(&fs::read_to_string(&path).unwrap());
        let mut calls = MethodCalls::default();
        calls.visit_file(&syn::parse_file(&expanded).unwrap());
        // The one method whose meaning depends on the type; nobody else has one of this name.
        calls
            .0
            .retain(|call| !call.ends_with("eventcore_state_options ()"));
        assert!(calls.0.is_empty(), "{}: {:?}", path.display(), calls.0);
    }
    assert!(cases > 0, "there are no cases in {}", folder().display());
}

/// Returns the variants of `tokens` in which one token is left out, including tokens inside groups.
fn without_one(tokens: &TokenStream) -> Vec<TokenStream> {
    let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
    let with = |index: usize, middle: Option<TokenTree>| -> TokenStream {
        trees[..index]
            .iter()
            .cloned()
            .chain(middle)
            .chain(trees[index + 1..].iter().cloned())
            .collect()
    };
    let mut all = Vec::new();
    for (index, tree) in trees.iter().enumerate() {
        all.push(with(index, None));
        if let TokenTree::Group(group) = tree {
            let inner = without_one(&group.stream());
            all.extend(
                inner
                    .into_iter()
                    .map(|s| with(index, Some(Group::new(group.delimiter(), s).into()))),
            );
        }
    }
    all
}

/// Returns every item in the test cases.
fn items() -> Vec<TokenStream> {
    let mut items = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".expanded.rs") {
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            items.extend(file.items.iter().map(ToTokens::to_token_stream));
        }
    }
    items
}

/// Passes the tokens to every derive and checks that each returns code, with or without errors.
/// Returns `true` if the tokens are a type at all; rustc passes nothing else to a derive.
fn answers_with_code(tokens: TokenStream) -> bool {
    let Ok(input) = read(tokens) else {
        return false;
    };
    for expand in [
        command::expand,
        event::expand,
        event_feed::expand,
        stream_key::expand,
    ] {
        let code = expand(input.clone());
        assert!(syn::parse2::<syn::File>(code.clone()).is_ok(), "{code}");
    }
    true
}

/// A regression test, found by `no_tokens_make_a_derive_panic`.
#[test]
fn a_field_without_a_name_is_an_error_and_gives_no_code_around_it() {
    for tokens in [
        "struct Deposit { #[stream] _: AccountId }",
        "struct AccountId { _: Uuid }",
        "enum AccountEvent { Deposited { amount: u64, _: u64 } }",
    ] {
        let error = read(tokens.parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "`_` is not a valid field name");
    }
}

#[test]
fn no_token_left_out_makes_a_derive_panic() {
    let broken = items().iter().flat_map(without_one).collect::<Vec<_>>();
    let inputs = broken
        .into_iter()
        .filter(|tokens| answers_with_code(tokens.clone()));
    let inputs = inputs.count();
    assert!(inputs > 100, "{inputs}");
}

/// A change at the index `at` among all tokens, modulo their number.
#[derive(Debug, Clone)]
struct Edit {
    at: usize,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Delete,
    Duplicate,
    /// Swaps the token with the next one.
    Swap,
    /// Replaces the token with this text.
    Replace(&'static str),
    /// Replaces the token with a copy of the one at this index, including its contents.
    Copy(usize),
}

const REPLACEMENTS: &[&str] = &[
    "",
    "Self",
    "self",
    "_",
    "crate",
    "r#type",
    "'a",
    "'static",
    "\"\"",
    "\"a-b\"",
    "\"\\u{0}\"",
    "0",
    "1.5",
    "b\"x\"",
    "true",
    "::",
    ",",
    "=",
    "=>",
    "<",
    ">",
    "&",
    "?",
    "!",
    "#",
    "..",
    "()",
    "[]",
    "{}",
    "(,)",
    "dyn A + B",
    "impl T",
    "fn()",
    "[u8; 4]",
    "macro!(x)",
    "<T as U>::V",
    "for<'x> fn(&'x u8)",
    "__",
    "name",
    "alias",
    "upcast",
    "only",
    "read",
    "event",
    "discovers",
    "category",
    "String",
    "Option<u8>",
    "&'a T",
];

/// Returns the number of tokens, including those in groups.
fn size(tokens: &TokenStream) -> usize {
    let inner = |tree| match tree {
        TokenTree::Group(group) => 1 + size(&group.stream()),
        _ => 1,
    };
    tokens.clone().into_iter().map(inner).sum()
}

fn token_at(tokens: &TokenStream, at: &mut usize) -> Option<TokenTree> {
    for tree in tokens.clone() {
        if *at == 0 {
            return Some(tree);
        }
        *at -= 1;
        if let TokenTree::Group(group) = &tree
            && let Some(found) = token_at(&group.stream(), at)
        {
            return Some(found);
        }
    }
    None
}

/// Returns `tokens` with the token `at` and the one after it replaced by the result of `change`.
fn changed(
    tokens: &TokenStream,
    at: &mut Option<usize>,
    change: &dyn Fn(TokenTree, Option<TokenTree>) -> TokenStream,
) -> TokenStream {
    let mut out = TokenStream::new();
    let mut trees = tokens.clone().into_iter();
    while let Some(tree) = trees.next() {
        if *at == Some(0) {
            *at = None;
            out.extend(change(tree, trees.next()));
            continue;
        }
        *at = at.map(|at| at - 1);
        out.extend([match tree {
            TokenTree::Group(group) if at.is_some() => {
                Group::new(group.delimiter(), changed(&group.stream(), at, change)).into()
            }
            tree => tree,
        }]);
    }
    out
}

fn edited(tokens: &TokenStream, edit: &Edit) -> TokenStream {
    let size = size(tokens).max(1);
    let other = match edit.what {
        What::Copy(from) => token_at(tokens, &mut (from % size)),
        _ => None,
    };
    let change = |tree: TokenTree, next: Option<TokenTree>| -> TokenStream {
        let next = next.to_token_stream();
        match &edit.what {
            What::Delete => next,
            What::Duplicate => quote!(#tree #tree #next),
            What::Swap => quote!(#next #tree),
            What::Replace(text) => {
                let replacement: TokenStream = text.parse().unwrap();
                quote!(#replacement #next)
            }
            What::Copy(_) => quote!(#other #next),
        }
    };
    changed(tokens, &mut Some(edit.at % size), &change)
}

fn edit() -> impl Strategy<Value = Edit> {
    let what = prop_oneof![
        Just(What::Delete),
        Just(What::Duplicate),
        Just(What::Swap),
        proptest::sample::select(REPLACEMENTS).prop_map(What::Replace),
        any::<usize>().prop_map(What::Copy),
    ];
    (any::<usize>(), what).prop_map(|(at, what)| Edit { at, what })
}

/// Replaces each token in turn with each of several tokens that are unusual anywhere.
#[test]
fn no_odd_token_makes_a_derive_panic() {
    let mut types = 0;
    for tokens in items() {
        for at in 0..size(&tokens) {
            for odd in ["_", "__", "r#type", "Self", "\"\"", "'a", "()"] {
                let what = What::Replace(odd);
                types += usize::from(answers_with_code(edited(&tokens, &Edit { at, what })));
            }
        }
    }
    assert!(types > 500, "only {types} were types");
}

/// Deletes, duplicates, swaps and replaces tokens at random, several at once.
#[test]
fn no_tokens_make_a_derive_panic() {
    let items = items();
    let types = Cell::new(0);
    let mut config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    // A few seconds of cases, or the number in the environment variable.
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 2_000;
    }
    let inputs = (any::<usize>(), proptest::collection::vec(edit(), 1..4));
    let result = TestRunner::new(config).run(&inputs, |(item, edits)| {
        let tokens = items[item % items.len()].clone();
        let tokens = edits
            .iter()
            .fold(tokens, |tokens, edit| edited(&tokens, edit));
        types.set(types.get() + usize::from(answers_with_code(tokens)));
        Ok(())
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    // Otherwise, most inputs would not be types, and nothing would be tested.
    assert!(types.get() > 300, "only {} were types", types.get());
}
