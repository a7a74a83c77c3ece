//! `derive(StreamKey)`: makes a newtype the typed key of a category of streams.

mod expand;
mod model;
mod parse;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::attributes::Errors;

pub(crate) fn expand(input: DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let arguments = parse::arguments(&input, &mut errors);
    let key = model::Key::new(input, arguments, &mut errors);
    expand::expand(&key, &errors)
}
