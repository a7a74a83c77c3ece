//! `derive(Event)`: gives an enum or a struct stable stored names, and writes and reads it through
//! its own serde derives.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::attributes::Errors;

pub(crate) fn expand(input: DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let event = model::Event::new(input, &mut errors);
    expand::expand(&event, &errors)
}
