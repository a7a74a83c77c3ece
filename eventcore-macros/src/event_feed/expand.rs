//! Generates the code of a feed.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::LitStr;

use super::model::{Feed, Variant};
use crate::attributes::{Errors, location, path_at};

pub(super) fn expand(feed: &Feed, errors: &Errors) -> TokenStream {
    let Feed {
        ident,
        generics,
        krate,
        variants: Some(variants),
    } = feed
    else {
        return quote!(#errors);
    };
    let checks = checks(feed, variants);
    // For a generic type, they can only be checked where it is used.
    let is_generic = generics.type_params().next().is_some();
    let (early, late) = match (checks.is_empty(), is_generic) {
        (true, _) => (None, None),
        (false, true) => (None, Some(quote!(const { #checks }))),
        (false, false) => (
            Some(quote!(#[allow(deprecated)] const _: () = { #checks };)),
            None,
        ),
    };
    let selectors = variants.iter().map(|variant| selectors(feed, variant));
    let arms = variants.iter().map(|variant| arm(feed, variant));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #errors
        #early
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #krate::EventFeed for #ident #type_generics #where_clause {
            fn filter() -> #krate::EventFilter {
                #late
                #krate::EventFilter::any_of([#(#selectors,)*])
            }
            fn decode(
                event: &#krate::RecordedEvent,
            ) -> ::core::result::Result<Self, #krate::projection::FeedError> {
                match #krate::StreamId::category(&event.stream) {
                    #(#arms)*
                    _ => ::core::result::Result::Err(#krate::projection::FeedError::not_in_feed(event)),
                }
            }
        }
    }
}

/// Returns the assertions that the compiler evaluates: stored names exist, and each category has
/// one variant.
fn checks(feed: &Feed, variants: &[Variant]) -> TokenStream {
    let names = variants
        .iter()
        .flat_map(|variant| variant.only.iter().map(|name| known(feed, variant, name)));
    let distinct = (variants.len() > 1).then(|| {
        let krate = &feed.krate;
        let categories = variants.iter().map(|variant| key(feed, variant));
        let message = format!(
            "two variants of `{}` have keys of one category; make it one variant with one key type, and match on \
             the event instead",
            feed.ident
        );
        let span = location(&feed.ident);
        quote_spanned! {span=>
            ::core::assert!(#krate::__private::are_distinct(&[#(#categories::CATEGORY),*]), #message);
        }
    });
    quote!(#(#names)* #distinct)
}

fn known(feed: &Feed, variant: &Variant, name: &LitStr) -> TokenStream {
    let span = location(name);
    let krate = path_at(&feed.krate, span);
    let key = key(feed, variant);
    let message = format!(
        "`{}` is no stored name of the events of `{}`; see `TYPE_NAMES` of its event type for those that are",
        name.value(),
        variant.ident
    );
    quote_spanned! {span=>
        ::core::assert!(#krate::__private::contains(#key::TYPE_NAMES, #name), #message);
    }
}

/// Returns the selectors of a variant: the whole category, unless the variant is narrowed, so that
/// an unknown event is read instead of skipped.
fn selectors(feed: &Feed, variant: &Variant) -> TokenStream {
    let krate = &feed.krate;
    let key = key(feed, variant);
    let category = quote!(#krate::EventSelector::category(#key::CATEGORY));
    if variant.only.is_empty() {
        return category;
    }
    let names = &variant.only;
    quote!(#(#krate::EventSelector::event_type(#category, #names)),*)
}

fn arm(feed: &Feed, variant: &Variant) -> TokenStream {
    let key = key(feed, variant);
    let ident = &variant.ident;
    quote! {
        category if category == #key::CATEGORY => {
            ::core::result::Result::map(#key::keyed(event), |(key, event)| Self::#ident(key, event))
        }
    }
}

/// Returns `<Key as FeedKey<Event>>`; an error in it points at both.
fn key(feed: &Feed, variant: &Variant) -> TokenStream {
    let Variant { key, event, .. } = variant;
    let (first, last) = (location(key), location(event));
    let krate = path_at(&feed.krate, first);
    let open = quote_spanned!(first=> <);
    let close = quote_spanned!(last=> >);
    quote!(#open #key as #krate::projection::codegen::FeedKey<#event> #close)
}
