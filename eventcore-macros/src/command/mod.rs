//! `derive(Command)`: turns the `#[stream]` fields of a struct into its declarations, its handles
//! and its events.

mod expand;
mod generics;
mod model;
mod parse;

use proc_macro2::TokenStream;
use syn::DeriveInput;

use crate::attributes::Errors;

pub(crate) fn expand(input: DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let command = model::Command::new(input, &mut errors);
    expand::expand(&command, &errors)
}
