//! `derive(EventFeed)`: an enum of keys and their events defines which events a reader receives.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::attributes::Errors;

pub(crate) fn expand(input: DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let feed = model::Feed::new(input, &mut errors);
    expand::expand(&feed, &errors)
}
