//! The code that the derives share: reading `#[name(argument, …)]`, and small helpers for
//! expansion.
//!
//! darling fills a struct from an attribute, so the structs in each `parse.rs` are the grammar. The
//! files here add diagnostics: [`items`] splits the list and recovers from mistakes, [`grammar`]
//! checks the names, [`form`] reads one argument, [`suggest`] finds misspellings, and [`errors`]
//! collects the errors.
//!
//! This module does not know what the arguments mean.

mod errors;
pub(crate) mod form;
mod grammar;
mod items;
mod suggest;
mod tokens;

use syn::Attribute;

pub(crate) use errors::Errors;
pub(crate) use grammar::Grammar;
pub(crate) use tokens::{
    default_crate, doc, ident_at, joined, location, parse_located, path_at, text,
};

/// Returns the attributes with this name.
pub(crate) fn named<'a>(
    attributes: &'a [Attribute],
    name: &'static str,
) -> impl Iterator<Item = &'a Attribute> {
    attributes
        .iter()
        .filter(move |attribute| attribute.path().is_ident(name))
}
