//! The expansions of `ui-tests/expand/*.rs`, as committed beside them. `UPDATE_SNAPSHOTS=1` writes them anew.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, DeriveInput, Item, Meta, Token, punctuated::Punctuated};

use crate::{command, event, stream_key};

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
                "Event" => event::expand(input),
                "StreamKey" => stream_key::expand(input),
                _ => continue,
            });
        }
    }
    prettyplease::unparse(&syn::parse2(code).unwrap())
}

fn derived(attribute: &Attribute) -> Vec<String> {
    let Meta::List(list) = &attribute.meta else { return Vec::new() };
    if !list.path.is_ident("derive") {
        return Vec::new();
    }
    let paths = list.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated).unwrap();
    paths.iter().filter_map(|path| path.segments.last()).map(|segment| segment.ident.to_string()).collect()
}

#[test]
fn expansions_are_as_committed() {
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let mut cases = 0;
    let mut different = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") || name.ends_with(".expanded.rs") {
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
    assert!(different.is_empty(), "run with UPDATE_SNAPSHOTS=1 and review:\n{}", different.join("\n"));
}
