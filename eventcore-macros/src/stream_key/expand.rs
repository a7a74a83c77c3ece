//! Generates the code of a stream key.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Generics, WherePredicate};

use super::model::{Inner, Key};
use crate::attributes::{Errors, ident_at, location};

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
    quote! {
        #errors
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #krate::StreamKey for #ident #type_generics #where_clause {
            type Event = #event;
            const CATEGORY: &'static str = #category;
            fn key(&self) -> impl ::core::fmt::Display {
                #read
            }
            fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
                #write
            }
        }
    }
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
