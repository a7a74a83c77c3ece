//! The derives of [eventcore](https://docs.rs/eventcore): [`Command`], [`StreamKey`], [`Event`] and [`EventFeed`].
//!
//! Use them through `eventcore`, which re-exports them. Each derive works in three steps, each in a
//! module of its own: *parse* the attributes, build a *model* of the type, *expand* the model into
//! code. Errors are collected and reported together, each at the location of the mistake. The
//! correct part of the input is expanded even then, so that editors can still offer completions.

mod attributes;
mod command;
mod completion;
mod event;
mod event_feed;
#[cfg(test)]
mod snapshots;
mod stream_key;

use proc_macro::TokenStream;

/// Makes a struct with named fields a command: implements `CommandStreams` and generates its
/// handles and events.
///
/// ```ignore
/// #[derive(Command)]
/// struct Transfer {
///     #[stream]
///     from: AccountId,
///     #[stream]
///     to: AccountId,
///     #[stream(read)]
///     limits: LimitsId,
///     amount: u64,
/// }
/// ```
///
/// generates `TransferStreams<'_>`, a struct with one handle for each stream field, and
/// `TransferEvent<'_>`, an enum with one variant for each (`from` becomes `From`), for commands that
/// fold events into a state of their own. `cargo expand` shows them.
///
/// # On a field
///
/// | attribute | meaning |
/// | --- | --- |
/// | `#[stream]` | the field is a key (`derive(StreamKey)`), an `Option` or a `Vec` of keys; read and appended to |
/// | `#[stream(read)]` | read and guarded against concurrent change, never appended to |
/// | `#[stream(event = E)]` | the field is a raw `StreamId`, or an `Option` or a `Vec` of them, and holds `E` |
/// | `#[stream(event = E, state = S)]` | the same, with the state `S: StreamState<E>`, which is `()` otherwise |
///
/// # On the struct
///
/// | attribute | meaning |
/// | --- | --- |
/// | `#[command(discovers(slot: Type, …))]` | streams that `StreamResolver` finds from the states of others; generates `…Discovered` and `…KnownStreams` |
/// | `#[command(streams = Name)]` | a name other than `…Streams` |
/// | `#[command(event = Name)]` | a name other than `…Event` |
/// | `#[command(discovered = Name)]` | a name other than `…Discovered` |
/// | `#[command(crate = path)]` | the path of `eventcore`, if not `::eventcore` |
///
/// A slot takes the same attributes as a field: `discovers(#[stream(read)] prices: Option<PriceListId>)`. Its type
/// must implement `Default`, as `Option` and `Vec` do.
///
/// # Generics
///
/// The generated types take those generics of the struct that its stream fields use, preceded by a
/// lifetime of their own: `struct Audit<'a, K, T> { #[stream] log: K, note: &'a T }` generates
/// `AuditStreams<'s, K>`. Bounds that mention other generics are left out.
#[proc_macro_derive(Command, attributes(stream, command))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    derive(input, command::expand)
}

/// Makes an enum or a struct an event: gives it stable stored names, and JSON through its own serde derives.
///
/// ```ignore
/// #[derive(Serialize, Deserialize, Event)]
/// enum AccountEvent {
///     Opened { owner: String },                                   // stored as `AccountOpened`
///     #[event(name = "MoneyPaidIn", alias = "account.deposit")]
///     Deposited { amount: u64 },                                  // `account.deposit` is read, too
///     #[event(upcast(from = ClosedV1, with = ClosedV1::upgrade))] // reads what `ClosedV1` wrote
///     Closed { reason: String },
/// }
/// ```
///
/// The stored name of a variant is the enum's name without `Event`, followed by the variant's name;
/// that of a struct is its own name. The payload consists of the variant's own fields; serde's
/// attributes on them are honoured.
///
/// | attribute | on | meaning |
/// | --- | --- | --- |
/// | `#[event(name = "…")]` | variant, struct | the stored name |
/// | `#[event(alias = "…")]` | variant, struct | another name that is read; may be repeated |
/// | `#[event(upcast(from = V1, with = f))]` | variant, enum, struct | reads events of the type `V1` with `f: fn(V1) -> Self`; may be repeated |
/// | `#[event(crate = path)]` | enum, struct | the path of `eventcore`, if not `::eventcore` |
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    derive(input, event::expand)
}

/// Makes a newtype a stream key: defines which category of streams it names, which events they
/// hold, and which state is folded from them.
///
/// ```ignore
/// #[derive(StreamKey)]
/// #[stream_key(category = "account", event = AccountEvent)]
/// struct AccountId(Uuid);
/// ```
///
/// The inner type must implement `Display` and `FromStr`.
///
/// | attribute | meaning |
/// | --- | --- |
/// | `#[stream_key(category = "…")]` | the part of the stream ids before the first `-` |
/// | `#[stream_key(event = E)]` | the events of the streams |
/// | `#[stream_key(state = S)]` | their state, `S: StreamState<E>`; `()` if it is not given |
/// | `#[stream_key(snapshot(revision = 1))]` | keeps snapshots of the state, which must implement serde's traits; `every = 500` sets the number of events between two of them, `name = "…"` a name other than that of the type |
/// | `#[stream_key(traits(Display, FromStr, From))]` | implements the named traits for the key |
/// | `#[stream_key(crate = path)]` | the path of `eventcore`, if not `::eventcore` |
#[proc_macro_derive(StreamKey, attributes(stream_key))]
pub fn derive_stream_key(input: TokenStream) -> TokenStream {
    derive(input, stream_key::expand)
}

/// Makes an enum of keys and their events a feed: implements `eventcore::projection::EventFeed`.
///
/// ```ignore
/// #[derive(EventFeed)]
/// enum Ledger {
///     Account(AccountId, AccountEvent),
///     #[event_feed(only("OrderPlaced", "OrderCancelled"))]
///     Order(OrderId, OrderEvent),
/// }
/// ```
///
/// Each variant holds the key of a stream (`derive(StreamKey)`) and the event type that this key
/// names. The filter of the feed selects the categories of the keys, whatever events are stored
/// there. An event that the event type does not know is therefore read and causes an error; it is
/// never skipped silently.
///
/// | attribute | on | meaning |
/// | --- | --- | --- |
/// | `#[event_feed(only("…", …))]` | variant | selects only the events of the category that are stored under these names; others are skipped on purpose |
/// | `#[event_feed(crate = path)]` | enum | the path of `eventcore`, if not `::eventcore` |
///
/// The names in `only` are individual stored names: if events were once stored under an alias, list
/// it as well. The compiler checks that the event type knows each of them, and that no category has
/// two variants. (For a generic enum it checks this where the filter is used.)
#[proc_macro_derive(EventFeed, attributes(event_feed))]
pub fn derive_event_feed(input: TokenStream) -> TokenStream {
    derive(input, event_feed::expand)
}

fn derive(
    input: TokenStream,
    expand: fn(syn::DeriveInput) -> proc_macro2::TokenStream,
) -> TokenStream {
    let input = proc_macro2::TokenStream::from(input);
    let mut output = completion::imports(input.clone());
    output.extend(read(input).map_or_else(syn::Error::into_compile_error, expand));
    output.into()
}

/// Parses the input of a derive. `syn` accepts `_` as the name of a field; Rust does not.
fn read(tokens: proc_macro2::TokenStream) -> syn::Result<syn::DeriveInput> {
    let input: syn::DeriveInput = syn::parse2(tokens)?;
    let fields: Vec<&syn::Fields> = match &input.data {
        syn::Data::Struct(data) => vec![&data.fields],
        syn::Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| &variant.fields)
            .collect(),
        syn::Data::Union(_) => Vec::new(),
    };
    let mut names = fields
        .into_iter()
        .flatten()
        .filter_map(|field| field.ident.as_ref());
    match names.find(|name| *name == "_") {
        Some(name) => Err(syn::Error::new(
            name.span(),
            "`_` is not a valid field name",
        )),
        None => Ok(input),
    }
}
