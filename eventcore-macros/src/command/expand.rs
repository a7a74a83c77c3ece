//! Generates the code of a command: the struct of handles, the enum of events, the slots, and `impl
//! CommandStreams`.

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericParam, Generics, Lifetime};

use super::{
    generics::within,
    model::{Command, Discovered, Field},
};
use crate::attributes::{Errors, doc, ident_at, location, path_at};

pub(super) fn expand(command: &Command, errors: &Errors) -> TokenStream {
    let streams = streams_struct(command);
    let event = event_enum(command);
    let discovered = command
        .discovered
        .as_ref()
        .map(|discovered| discovered_struct(command, discovered));
    let command_streams = command_streams(command, errors);
    let known_streams = command
        .discovered
        .as_ref()
        .map(|discovered| known_streams_struct(command, discovered));
    quote! {
        #errors
        #streams
        #event
        #discovered
        #known_streams
        #command_streams
    }
}

fn streams_struct(command: &Command) -> TokenStream {
    let Command {
        vis,
        streams,
        lifetime,
        fields,
        ..
    } = command;
    let fields = fields.iter().map(|field| {
        let Field {
            ident, docs, vis, ..
        } = field;
        let ty = field_type(command, field, "FieldHandle", field.read_only);
        quote!(#(#docs)* #vis #ident: #ty)
    });
    // Only after an error: the lifetime must be used.
    let unused = command
        .fields
        .is_empty()
        .then(|| quote!(_unused: ::core::marker::PhantomData<&#lifetime ()>));
    let fields = fields.chain(unused);
    let generics = within(lifetime, &command.field_generics);
    let where_clause = &generics.where_clause;
    let doc = doc(&format!(
        "The streams of [`{}`], one handle for each field.",
        command.ident
    ));
    quote! {
        #doc
        #[allow(dead_code, deprecated, missing_debug_implementations)]
        #vis struct #streams #generics #where_clause {
            #(#fields,)*
        }
    }
}

fn event_enum(command: &Command) -> TokenStream {
    let Command {
        vis,
        event,
        lifetime,
        fields,
        ..
    } = command;
    let variants = fields.iter().map(|field| {
        let variant = &field.variant;
        let doc = doc(&format!("From the stream of `{}`.", field.name));
        let ty = field_type(command, field, "FieldEvent", false);
        quote!(#doc #variant(#ty))
    });
    let unused = command
        .fields
        .is_empty()
        .then(|| quote!(#[doc(hidden)] Unused(::core::marker::PhantomData<&#lifetime ()>)));
    let variants = variants.chain(unused);
    let generics = within(lifetime, &command.field_generics);
    let where_clause = &generics.where_clause;
    let doc = doc(&format!(
        "An event from one of the streams of [`{}`].",
        command.ident
    ));
    quote! {
        #doc
        #[allow(deprecated, missing_debug_implementations, private_interfaces)]
        #vis enum #event #generics #where_clause {
            #(#variants,)*
        }
    }
}

/// Returns the struct of the handles that the resolver sees, all of them read-only.
fn known_streams_struct(command: &Command, discovered: &Discovered) -> TokenStream {
    let Command {
        vis,
        lifetime,
        fields,
        ..
    } = command;
    let ident = &discovered.known_streams;
    let fields = fields.iter().map(|field| {
        let Field {
            ident, docs, vis, ..
        } = field;
        let ty = field_type(command, field, "FieldHandle", true);
        quote!(#(#docs)* #vis #ident: #ty)
    });
    let generics = within(lifetime, &command.field_generics);
    let where_clause = &generics.where_clause;
    let doc = doc(&format!(
        "The streams of [`{}`] that are known so far, for its `StreamResolver`.",
        command.ident
    ));
    quote! {
        #doc
        #[allow(dead_code, deprecated, missing_debug_implementations)]
        #vis struct #ident #generics #where_clause {
            #(#fields,)*
        }
    }
}

/// Returns `FieldHandle<'a, Type, Access, Source>`, without the arguments that have their defaults.
fn field_type(command: &Command, field: &Field, alias: &str, read_only: bool) -> TokenStream {
    let Field { ty, event, .. } = field;
    let span = location(ty);
    let krate = path_at(&command.krate, span);
    let alias = Ident::new(alias, span);
    let lifetime = lifetime_at(&command.lifetime, span);
    let access = (alias == "FieldHandle").then(|| {
        let access = match (read_only, event) {
            (true, _) => quote_spanned!(span=> ReadOnly),
            (false, Some(_)) => quote_spanned!(span=> Writable),
            (false, None) => return TokenStream::new(),
        };
        quote_spanned!(span=> , #krate::command::#access)
    });
    let state = &field.state;
    let source = event.as_ref().map(|event| {
        let state = state.as_ref().map(|state| quote!(, #state));
        quote_spanned!(span=> , #krate::command::codegen::Raw<#event #state>)
    });
    quote_spanned!(span=> #krate::command::codegen::#alias<#lifetime, #ty #access #source>)
}

fn discovered_struct(command: &Command, discovered: &Discovered) -> TokenStream {
    let vis = &command.vis;
    let Discovered {
        ident, generics, ..
    } = discovered;
    let slots: Vec<&Field> = command
        .fields
        .iter()
        .filter(|field| field.is_slot)
        .collect();
    let fields = slots.iter().map(
        |Field {
             ident, docs, ty, ..
         }| quote!(#(#docs)* #vis #ident: #ty),
    );
    let doc = doc(&format!(
        "The streams that [`{}`] finds from its state.",
        command.ident
    ));
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let defaults = slots.iter().map(|Field { ident, ty, .. }| {
        let span = location(ty);
        let krate = path_at(&command.krate, span);
        quote_spanned!(span=> #ident: #krate::command::codegen::empty_slot())
    });
    quote! {
        #doc
        #[allow(deprecated, missing_debug_implementations, private_interfaces)]
        #vis struct #ident #generics #where_clause {
            #(#fields,)*
        }
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics ::core::default::Default for #ident #type_generics #where_clause {
            fn default() -> Self {
                Self { #(#defaults,)* }
            }
        }
    }
}

fn command_streams(command: &Command, errors: &Errors) -> TokenStream {
    let Command {
        ident,
        krate,
        streams,
        event,
        lifetime,
        fields,
        ..
    } = command;
    let (impl_generics, type_generics, where_clause) = command.generics.split_for_impl();
    let arguments = arguments(Some(lifetime), &command.field_generics);
    let declare = |slots| {
        fields
            .iter()
            .filter(move |field| field.is_slot == slots)
            .map(|field| declare(command, field))
    };
    let own = declare(false);
    let handles = handles(command);
    let arms = fields
        .iter()
        .enumerate()
        .map(|(number, field)| decode_arm(command, number, field));
    let discovered_type = discovered_type(command);
    // Unused parameters get names with an underscore.
    let has_slots = fields.iter().any(|field| field.is_slot);
    let discovered_name = parameter("discovered", has_slots);
    let handles_name = parameter("handles", !fields.is_empty());
    let declare_name = parameter("streams", fields.iter().any(|field| !field.is_slot));
    let slots = command
        .discovered
        .as_ref()
        .map(|_| declare_slots(command, declare(true)));
    // A missing impl is reported only once everything else is correct.
    let resolve = command
        .discovered
        .as_ref()
        .filter(|_| errors.is_empty())
        .map(|found| discover(command, found));
    let discovers = command.discovered.is_some().then(|| {
        quote!(
            const DISCOVERS: bool = true;
        )
    });
    let known_streams = command.discovered.as_ref().map_or_else(
        || quote!(()),
        |discovered| {
            let ident = &discovered.known_streams;
            quote!(#ident #arguments)
        },
    );
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #krate::CommandStreams for #ident #type_generics #where_clause {
            type Streams<#lifetime> = #streams #arguments where Self: #lifetime;
            type Event<#lifetime> = #event #arguments where Self: #lifetime;
            type Discovered = #discovered_type;
            type KnownStreams<#lifetime> = #known_streams where Self: #lifetime;
            #discovers
            fn declare(&self, #declare_name: &mut #krate::command::codegen::Declarations) {
                #(#own;)*
            }
            #slots
            #resolve
            fn streams<#lifetime>(
                &#lifetime self,
                #discovered_name: &#lifetime #discovered_type,
                #handles_name: &mut #krate::command::codegen::Handles<#lifetime>,
            ) -> #streams #arguments {
                #streams { #handles }
            }
            fn event<#lifetime>(
                &#lifetime self,
                #discovered_name: &#lifetime #discovered_type,
                event: #krate::command::codegen::FieldRecord<#lifetime>,
            ) -> ::core::result::Result<#event #arguments, #krate::DecodeError> {
                match #krate::command::codegen::FieldRecord::field(&event) {
                    #(#arms)*
                    _ => ::core::result::Result::Err(#krate::command::codegen::FieldRecord::undeclared(&event)),
                }
            }
        }
    }
}

/// Returns the fields of the struct of handles, each initialized with its handle.
fn handles(command: &Command) -> TokenStream {
    let fields = &command.fields;
    let handles = fields.iter().map(|field| {
        let span = location(&field.ty);
        let (ident, place, turbofish) = (
            ident_at(&field.ident, span),
            place(field, span),
            raw(field, span, 2),
        );
        let krate = path_at(&command.krate, span);
        let name = &field.name;
        let next = Ident::new(
            if field.event.is_some() {
                "next_raw"
            } else {
                "next"
            },
            span,
        );
        quote_spanned!(span=> #ident: #krate::command::codegen::Handles::#next #turbofish(handles, #name, #place))
    });
    let unused = fields
        .is_empty()
        .then(|| quote!(_unused: ::core::marker::PhantomData));
    let handles = handles.chain(unused);
    quote!(#(#handles,)*)
}

/// Returns the name of a parameter, with an underscore if it is unused.
fn parameter(name: &str, is_used: bool) -> Ident {
    let name = if is_used {
        name.to_owned()
    } else {
        format!("_{name}")
    };
    Ident::new(&name, Span::call_site())
}

/// Returns the code that declares the streams of a field. Generated code calls every function by
/// its path: otherwise, a user's trait with a method of the same name that takes `self` instead of
/// `&self` would be called.
fn declare(command: &Command, field: &Field) -> TokenStream {
    // An `event = …` that does not belong there is reported at its own position.
    let span = field
        .event
        .as_ref()
        .map_or_else(|| location(&field.ty), location);
    let krate = path_at(&command.krate, span);
    let method = match (&field.event, field.read_only) {
        (None, false) => "declare",
        (None, true) => "declare_read_only",
        (Some(_), false) => "declare_raw",
        (Some(_), true) => "declare_raw_read_only",
    };
    let method = Ident::new(method, span);
    let (place, turbofish, name) = (place(field, span), raw(field, span, 1), &field.name);
    quote_spanned!(span=> #krate::command::codegen::Declarations::#method #turbofish(streams, #name, #place))
}

fn decode_arm(command: &Command, number: usize, field: &Field) -> TokenStream {
    let span = location(&field.ty);
    let krate = path_at(&command.krate, span);
    let method = Ident::new(
        if field.event.is_some() {
            "decode_raw"
        } else {
            "decode"
        },
        span,
    );
    let (place, turbofish) = (place(field, span), raw(field, span, 1));
    let (event, variant) = (
        ident_at(&command.event, span),
        ident_at(&field.variant, span),
    );
    let number = Literal::usize_unsuffixed(number);
    let decoded = quote_spanned!(span=> #krate::command::codegen::FieldRecord::#method #turbofish(event, #place)?);
    quote_spanned!(span=> #number => ::core::result::Result::Ok(#event::#variant(#decoded)),)
}

/// Returns `&self.field` or `&discovered.slot`.
fn place(field: &Field, span: Span) -> TokenStream {
    let name = ident_at(&field.ident, span);
    if field.is_slot {
        quote_spanned!(span=> &discovered.#name)
    } else {
        quote_spanned!(span=> &self.#name)
    }
}

/// Returns `::<Event, State, _>` for a raw stream id.
fn raw(field: &Field, span: Span, inferred: usize) -> Option<TokenStream> {
    let event = field.event.as_ref()?;
    let state = field
        .state
        .as_ref()
        .map_or_else(|| quote_spanned!(span=> ()), ToTokens::to_token_stream);
    let inferred = std::iter::repeat_n(quote_spanned!(span=> _), inferred);
    Some(quote_spanned!(span=> ::<#event, #state, #(#inferred),*>))
}

fn declare_slots(command: &Command, declare: impl Iterator<Item = TokenStream>) -> TokenStream {
    let krate = &command.krate;
    let ty = discovered_type(command);
    let any = command.fields.iter().any(|field| field.is_slot);
    let (discovered, streams) = (parameter("discovered", any), parameter("streams", any));
    quote! {
        fn declare_discovered(#discovered: &#ty, #streams: &mut #krate::command::codegen::Declarations) {
            #(#declare;)*
        }
    }
}

/// Returns the methods through which the resolver is called.
fn discover(command: &Command, discovered: &Discovered) -> TokenStream {
    let Command {
        krate, lifetime, ..
    } = command;
    let span = Span::call_site().located_at(discovered.word);
    let located = path_at(krate, span);
    let ident = &discovered.known_streams;
    let arguments = arguments(Some(lifetime), &command.field_generics);
    let (handles, ty) = (handles(command), discovered_type(command));
    let resolve = quote_spanned!(span=>
        #located::StreamResolver::discover_related_streams(self, state, streams)
    );
    // Unused without fields and slots, which is an error anyway.
    let any_slot = command.fields.iter().any(|field| field.is_slot);
    let found = parameter("discovered", any_slot);
    let taken = parameter("handles", !command.fields.is_empty());
    quote! {
        fn known_streams<#lifetime>(
            &#lifetime self,
            #found: &#lifetime #ty,
            #taken: &mut #krate::command::codegen::Handles<#lifetime>,
        ) -> ::core::option::Option<#ident #arguments> {
            ::core::option::Option::Some(#ident { #handles })
        }
        fn discover<#lifetime>(
            &#lifetime self,
            state: &<Self as #krate::CommandLogic>::State,
            streams: Self::KnownStreams<#lifetime>,
        ) -> Self::Discovered
        where
            Self: #krate::CommandLogic,
        {
            #resolve
        }
    }
}

fn discovered_type(command: &Command) -> TokenStream {
    let Some(Discovered {
        ident, generics, ..
    }) = &command.discovered
    else {
        return quote!(());
    };
    let arguments = arguments(None, generics);
    quote!(#ident #arguments)
}

/// Returns `<'a, K, N>`.
fn arguments(lifetime: Option<&Lifetime>, generics: &Generics) -> Option<TokenStream> {
    let names = generics.params.iter().map(|parameter| match parameter {
        GenericParam::Lifetime(parameter) => parameter.lifetime.to_token_stream(),
        GenericParam::Type(parameter) => parameter.ident.to_token_stream(),
        GenericParam::Const(parameter) => parameter.ident.to_token_stream(),
    });
    let mut names = lifetime
        .map(ToTokens::to_token_stream)
        .into_iter()
        .chain(names)
        .peekable();
    names.peek()?;
    Some(quote!(<#(#names),*>))
}

fn lifetime_at(lifetime: &Lifetime, span: Span) -> Lifetime {
    let mut lifetime = lifetime.clone();
    lifetime.set_span(span);
    lifetime
}
