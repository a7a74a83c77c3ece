//! The expansions of `ui-tests/expand/*.rs`, as committed beside them. `UPDATE_SNAPSHOTS=1` writes them anew.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, DeriveInput, Item, Meta, Token, punctuated::Punctuated};

use crate::{command, event, event_feed, stream_key};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui-tests/expand")
}

/// The expansions of all our derives in a file, formatted.
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
        let first = format!("//! What the derives in `{name}` generate.\n\n");
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

/// `tokens` with one token left out, for each of its tokens, those in groups included.
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

/// Whatever is left out, every derive answers with code, errors among it or not.
#[test]
fn no_input_makes_a_derive_panic() {
    let mut inputs = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".expanded.rs") {
            continue;
        }
        for item in syn::parse_file(&fs::read_to_string(&path).unwrap())
            .unwrap()
            .items
        {
            for tokens in without_one(&item.to_token_stream()) {
                let Ok(input) = syn::parse2::<DeriveInput>(tokens) else {
                    continue;
                };
                inputs += 1;
                for expand in [
                    command::expand,
                    event::expand,
                    event_feed::expand,
                    stream_key::expand,
                ] {
                    let code = expand(input.clone());
                    assert!(syn::parse2::<syn::File>(code.clone()).is_ok(), "{code}");
                }
            }
        }
    }
    assert!(inputs > 100, "{inputs}");
}
