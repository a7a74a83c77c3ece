//! Generates the code of an event.

use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Generics, LitStr, parse_quote};

use super::model::{Event, Names, Shape, Variant};
use crate::attributes::{Errors, location, path_at};

pub(super) fn expand(event: &Event, errors: &Errors) -> TokenStream {
    let Event { ident, krate, .. } = event;
    let span = location(ident);
    let located = path_at(krate, span);
    let (name, encode, arms) = match &event.shape {
        Shape::Refused => return quote!(#errors),
        Shape::Struct(names) => {
            let own = &names.own;
            let pattern = names.all();
            (
                quote!(#own),
                quote_spanned!(span=> #located::__private::encode_struct(self, payload)),
                vec![
                    quote_spanned!(span=> #(#pattern)|* => #located::__private::decode_struct(type_name, payload),),
                ],
            )
        }
        Shape::Enum(variants) => (
            type_name(variants),
            quote_spanned!(span=> #located::__private::encode_fields(#located::Event::type_name(self), self, payload)),
            variants
                .iter()
                .enumerate()
                .map(|(index, variant)| decode_arm(event, index, variant))
                .collect(),
        ),
    };
    let type_names = type_names(event);
    let upcasts = event.upcasts.iter().map(|upcast| {
        let (from, with) = (&upcast.from, &upcast.with);
        let (type_span, function_span) = (location(from), location(with));
        let krate = path_at(krate, type_span);
        let old = quote_spanned!(type_span=> <#from as #krate::Event>);
        let upcast = quote_spanned!(function_span=> #krate::__private::upcast);
        quote! {
            _ if #krate::__private::contains(#old::TYPE_NAMES, type_name) => {
                #upcast(#old::decode(type_name, payload), #with)
            }
        }
    });
    let generics = generics(event);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #errors
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #krate::Event for #ident #type_generics #where_clause {
            const TYPE_NAMES: &'static [&'static str] = #type_names;
            fn type_name(&self) -> &'static str {
                #name
            }
            fn encode(
                &self,
                payload: &mut #krate::PayloadWriter<'_>,
            ) -> ::core::result::Result<(), #krate::EncodeError> {
                #encode
            }
            fn decode(
                type_name: &str,
                payload: &[u8],
            ) -> ::core::result::Result<Self, #krate::DecodeError> {
                match type_name {
                    #(#arms)*
                    #(#upcasts)*
                    _ => ::core::result::Result::Err(#krate::DecodeError::UnknownType {
                        type_name: ::std::borrow::ToOwned::to_owned(type_name),
                        known: <Self as #krate::Event>::TYPE_NAMES,
                    }),
                }
            }
        }
    }
}

fn type_name(variants: &[Variant]) -> TokenStream {
    if variants.is_empty() {
        return quote!(match *self {});
    }
    let arms = variants.iter().map(
        |Variant {
             ident,
             names: Names { own, .. },
         }| quote!(Self::#ident { .. } => #own,),
    );
    quote!(match self { #(#arms)* })
}

fn decode_arm(event: &Event, index: usize, variant: &Variant) -> TokenStream {
    let span = location(&event.ident);
    let krate = path_at(&event.krate, span);
    let names = variant.names.all();
    let index = Literal::usize_unsuffixed(index);
    quote_spanned!(span=> #(#names)|* => #krate::__private::decode_variant(type_name, #index, payload),)
}

/// Returns all names that are read. Those of the older types are known only to the compiler.
fn type_names(event: &Event) -> TokenStream {
    let names: Vec<&LitStr> = match &event.shape {
        Shape::Struct(names) => names.all().collect(),
        Shape::Enum(variants) => variants
            .iter()
            .flat_map(|variant| variant.names.all())
            .collect(),
        Shape::Refused => Vec::new(),
    };
    if event.upcasts.is_empty() {
        return quote!(&[#(#names),*]);
    }
    let krate = &event.krate;
    let old = event.upcasts.iter().map(|upcast| {
        let from = &upcast.from;
        let span = location(from);
        let krate = path_at(krate, span);
        quote_spanned!(span=> <#from as #krate::Event>::TYPE_NAMES)
    });
    quote! {{
        const NAMES: &[&[&str]] = &[&[#(#names),*], #(#old),*];
        &#krate::__private::concat_names::<{ #krate::__private::count_names(NAMES) }>(NAMES)
    }}
}

/// Returns the type's generics. If there are type parameters, a bound requires that serde can write
/// and read the type.
fn generics(event: &Event) -> Generics {
    let mut generics = event.generics.clone();
    if generics.type_params().next().is_some() {
        let krate = &event.krate;
        generics.make_where_clause().predicates.push(
            parse_quote!(Self: #krate::__private::Serialize + #krate::__private::DeserializeOwned),
        );
    }
    generics
}
