//! `derive(Event)`: an enum or a struct gets stable stored names and is written and read through its own serde derives.

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
