//! Completion of argument names inside the attributes, for rust-analyzer.
//!
//! rust-analyzer completes a name inside an attribute if the derive repeats the name's token in its
//! output, in a place where it can complete. So the names of the arguments are repeated in an
//! import, from a module of all names that the attribute takes. Compilers do not get this code.

use std::{env, sync::LazyLock};

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use quote::{format_ident, quote};

/// The attributes, and the arguments that each takes, as one would write them.
const ATTRIBUTES: [(&str, &[&str]); 5] = [
    (
        "command",
        &["discovers(…)", "streams = …", "event = …", "discovered = …"],
    ),
    ("stream", &["read", "event = …", "state = …"]),
    (
        "stream_key",
        &[
            "category = …",
            "event = …",
            "state = …",
            "snapshot(revision = …)",
            "traits(…)",
        ],
    ),
    ("event", &["name = …", "alias = …", "upcast(…)"]),
    ("event_feed", &["only(…)"]),
];

/// The executables of rust-analyzer that expand macros all begin like this.
static IS_EDITOR: LazyLock<bool> = LazyLock::new(|| {
    let program = env::current_exe().unwrap_or_default();
    let name = program.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("rust-analyzer")
});

/// Returns the imports for the attributes in the input of a derive; nothing for a compiler.
///
/// They come before everything else in the output: rust-analyzer expands the input with and without
/// the name that is being completed, and takes what stands at the same offset for the same.
pub(crate) fn imports(input: TokenStream) -> TokenStream {
    let mut output = TokenStream::new();
    if *IS_EDITOR {
        repeat_arguments(input, &mut output);
    }
    output
}

/// Adds an import for each attribute in some tokens, also for those of fields and variants.
fn repeat_arguments(tokens: TokenStream, output: &mut TokenStream) {
    let mut after_hash = false;
    for token in tokens {
        if let TokenTree::Group(group) = &token {
            if after_hash && group.delimiter() == Delimiter::Bracket {
                output.extend(import(group.stream()));
            }
            repeat_arguments(group.stream(), output);
        }
        after_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
    }
}

/// Returns the import for one attribute, given what its brackets hold.
fn import(attribute: TokenStream) -> Option<TokenStream> {
    let mut tokens = attribute.into_iter();
    let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(arguments))) =
        (tokens.next(), tokens.next())
    else {
        return None;
    };
    let (module, known) = ATTRIBUTES.iter().find(|(known, _)| name == known)?;
    let module = format_ident!("{module}");
    let names = names(arguments.stream());
    let items = known.iter().map(|usage| {
        let name = format_ident!("{}", name_of(usage));
        let doc = format!("`#[{module}({usage})]`");
        quote!(#[doc = #doc] pub const #name: () = ();)
    });
    Some(quote! {
        const _: () = {
            use #module::{#(#names),*};
            mod #module { #(#items)* }
        };
    })
}

/// Returns the name of an argument, given its usage.
fn name_of(usage: &str) -> &str {
    usage.split_once([' ', '(']).map_or(usage, |(name, _)| name)
}

/// Returns the names of the arguments in a list.
fn names(arguments: TokenStream) -> Vec<Ident> {
    let mut names = Vec::new();
    let mut is_start = true;
    for token in arguments {
        let is_comma = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
        match token {
            // A keyword cannot be imported.
            TokenTree::Ident(name) if is_start && name != "crate" => names.push(name),
            _ => {}
        }
        is_start = is_comma;
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what it expects")]

    use std::collections::BTreeSet;

    use super::*;

    fn text(input: &str) -> String {
        let mut output = TokenStream::new();
        repeat_arguments(input.parse().unwrap(), &mut output);
        output.to_string()
    }

    #[test]
    fn names_are_repeated_in_an_import_of_all_arguments() {
        let import = text("#[stream(read, event = E)] from: AccountId");
        assert!(
            import.contains("use stream :: { read , event } ;"),
            "{import}"
        );
        assert!(import.contains("pub const read : () = ()"), "{import}");
        let empty = text("struct Transfer { #[stream()] from: AccountId }");
        assert!(empty.contains("use stream :: { } ;"), "{empty}");
        let slot = text("#[command(discovers(#[stream(re)] a: Option<A>), crate = x)]");
        assert!(slot.contains("use command :: { discovers } ;"), "{slot}");
        assert!(slot.contains("use stream :: { re } ;"), "{slot}");
        assert_eq!(text("#[stream] #[serde(rename)] from: AccountId"), "");
        let compiled = imports("#[stream(read)]".parse().unwrap());
        assert!(compiled.is_empty(), "a compiler gets {compiled}");
    }

    /// The arguments that are offered are those of the reference in `lib.rs`.
    #[test]
    fn all_arguments_are_offered() {
        for (attribute, usages) in ATTRIBUTES {
            let mut documented = BTreeSet::new();
            for line in include_str!("lib.rs").lines() {
                let uses = line.trim_start().strip_prefix("///").unwrap_or_default();
                for code in uses.split(&format!("#[{attribute}(")).skip(1) {
                    let list = code.split(")]").next().unwrap().replace('…', "");
                    let tokens = list.parse::<TokenStream>();
                    documented.extend(
                        tokens
                            .iter()
                            .cloned()
                            .flat_map(names)
                            .map(|name| name.to_string()),
                    );
                }
            }
            let offered = usages.iter().map(|usage| name_of(usage).to_owned());
            assert_eq!(offered.collect::<BTreeSet<_>>(), documented, "{attribute}");
        }
    }
}
