//! Generates the code of a stream key.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Generics, LitStr, Type, WherePredicate, spanned::Spanned};

use super::{
    model::{Inner, Key},
    parse::{KeyTrait, Snapshot},
};
use crate::attributes::{Errors, ident_at, location, path_at, text};

pub(super) fn expand(key: &Key, errors: &Errors) -> TokenStream {
    let Key {
        ident,
        krate,
        category,
        event: Some(event),
        ..
    } = key
    else {
        return quote!(#errors);
    };
    let category = category
        .as_ref()
        .map_or_else(|| quote!(""), ToTokens::to_token_stream);
    let (read, write) = key.inner.as_ref().map_or_else(placeholder, bodies);
    let generics = generics(key);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let state = key
        .state
        .as_ref()
        .map_or_else(|| quote!(()), ToTokens::to_token_stream);
    let options = key.state.as_ref().map(|state| options(key, state));
    let traits = key.inner.as_ref().map(|inner| traits(key, inner));
    quote! {
        #errors
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #krate::StreamKey for #ident #type_generics #where_clause {
            type Event = #event;
            type State = #state;
            const CATEGORY: &'static str = #category;
            fn key(&self) -> impl ::core::fmt::Display {
                #read
            }
            fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
                #write
            }
            #options
        }
        #traits
    }
}

/// Returns the method that says how states are copied and stored. Errors about their traits point
/// to the type of the state.
fn options(key: &Key, state: &Type) -> TokenStream {
    let krate = &key.krate;
    let span = location(state);
    let located = path_at(krate, span);
    let snapshots = key.snapshot.as_ref().map(|snapshot| {
        let Snapshot {
            revision,
            every,
            name,
            ..
        } = snapshot;
        let name = match name {
            Some(name) => name.to_token_stream(),
            None => name_of(state).to_token_stream(),
        };
        quote_spanned!(span=> let options = #located::StateOptions::snapshots(options, #name, #revision);)
            .into_iter()
            .chain(every.as_ref().map(|every| quote!(let options = #krate::StateOptions::every(options, #every);)).into_iter().flatten())
            .collect::<TokenStream>()
    });
    quote! {
        fn state_options() -> #krate::StateOptions<#state> {
            #[allow(unused_imports)]
            use #krate::__private::NotCloned as _;
            let options = #krate::__private::IfCloned::<#state>::NEW.eventcore_state_options();
            #snapshots
            options
        }
    }
}

/// Returns the name of a type without its path and arguments.
fn name_of(ty: &Type) -> LitStr {
    let name = match ty {
        Type::Path(path) => path.path.segments.last().map(|last| text(&last.ident)),
        _ => None,
    };
    LitStr::new(
        &name.unwrap_or_else(|| ty.to_token_stream().to_string()),
        ty.span(),
    )
}

/// Returns the implementations of the traits that are asked for.
fn traits(key: &Key, inner: &Inner) -> TokenStream {
    let Key { ident, krate, .. } = key;
    let ty = &inner.ty;
    let construct = |value: TokenStream| {
        if let Some(name) = &inner.name {
            quote!(Self { #name: #value })
        } else {
            quote!(Self(#value))
        }
    };
    let generics = generics(key);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let implement = |(named, span): &(KeyTrait, Span)| {
        let span = Span::call_site().located_at(*span);
        let header = quote!(#[automatically_derived] #[allow(deprecated)]);
        match named {
            KeyTrait::Display => quote_spanned! {span=>
                #header
                impl #impl_generics ::core::fmt::Display for #ident #type_generics #where_clause {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        ::core::fmt::Display::fmt(&#krate::StreamKey::key(self), f)
                    }
                }
            },
            KeyTrait::FromStr => quote_spanned! {span=>
                #header
                impl #impl_generics ::core::str::FromStr for #ident #type_generics #where_clause {
                    type Err = #krate::StreamIdError;

                    fn from_str(text: &str) -> ::core::result::Result<Self, #krate::StreamIdError> {
                        #krate::StreamKey::from_text(text)
                    }
                }
            },
            KeyTrait::From => {
                let value = construct(quote!(::core::convert::Into::into(value)));
                // A `String` is made from `&str` as well; any other type from itself.
                let from = if text_type(ty) {
                    quote!(&str)
                } else {
                    quote!(#ty)
                };
                let also = text_type(ty).then(|| {
                    let value = construct(quote!(value));
                    quote_spanned! {span=>
                        #header
                        impl #impl_generics ::core::convert::From<#ty> for #ident #type_generics #where_clause {
                            fn from(value: #ty) -> Self {
                                #value
                            }
                        }
                    }
                });
                quote_spanned! {span=>
                    #header
                    impl #impl_generics ::core::convert::From<#from> for #ident #type_generics #where_clause {
                        fn from(value: #from) -> Self {
                            #value
                        }
                    }
                    #also
                }
            }
        }
    };
    key.traits.iter().map(implement).collect()
}

/// Returns `true` for `String`, which affects only what a key can be made from.
fn text_type(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "String"))
}

fn bodies(inner: &Inner) -> (TokenStream, TokenStream) {
    let ty = &inner.ty;
    let span = location(ty);
    let (read, construct) = match &inner.name {
        Some(name) => {
            let name = ident_at(name, span);
            (
                quote_spanned!(span=> &self.#name),
                quote!(Self { #name: value }),
            )
        }
        None => (quote_spanned!(span=> &self.0), quote!(Self(value))),
    };
    let parsed = quote_spanned!(span=> <#ty as ::core::str::FromStr>::from_str(key));
    let write = quote! {
        match #parsed {
            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(#construct),
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::std::string::ToString::to_string(&error))
            }
        }
    };
    (read, write)
}

/// Returns code for a shape that was refused: the errors are reported, and nothing else should fail
/// because of it.
fn placeholder() -> (TokenStream, TokenStream) {
    (
        quote!(""),
        quote!(::core::result::Result::Err(
            ::std::string::ToString::to_string(key)
        )),
    )
}

/// Returns the struct's generics; an inner type that depends on them must be convertible to and
/// from text.
fn generics(key: &Key) -> Generics {
    let mut generics = key.generics.clone();
    let Some(Inner { ty, .. }) = &key.inner else {
        return generics;
    };
    if generics.type_params().next().is_some() {
        let bounds = [
            quote!(#ty: ::core::fmt::Display + ::core::str::FromStr),
            quote!(<#ty as ::core::str::FromStr>::Err: ::core::fmt::Display),
        ];
        // A type that cannot have bounds, such as `dyn A + B`, is not a key anyway.
        let bounds = bounds
            .into_iter()
            .filter_map(|bound| syn::parse2::<WherePredicate>(bound).ok());
        generics.make_where_clause().predicates.extend(bounds);
    }
    generics
}
