//! The generated code gives no warnings, whatever lints are on: inside of a `macro_rules`, where lints
//! see the spans of the user's own tokens, and for items that are deprecated.

#![deny(
    absolute_paths_not_starting_with_crate,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    keyword_idents,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_debug_implementations,
    missing_docs,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused_import_braces,
    unused_lifetimes,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    warnings
)]

use eventcore::{Command, CommandLogic, Event, EventFeed, StreamKey, StreamResolver, StreamState};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

macro_rules! all {
    ($key:ident $event:ident $command:ident $feed:ident $variant:ident $field:ident $streams:ident $ev:ident $disc:ident $known:ident $state:ident $old:ident $category:literal { $($attr:tt)* }) => {
        /// Event.
        $($attr)*
        #[derive(Debug, Serialize, Deserialize, Event)]
        #[allow(deprecated)]
        #[event(upcast(from = $old, with = $event::from))]
        pub enum $event {
            /// V.
            $($attr)*
            $variant {
                /// A.
                amount: u64 },
            /// W.
            Other,
        }
        /// Event.
        $($attr)*
        #[derive(Debug, Serialize, Deserialize, Event)]
        #[allow(deprecated)]
        pub struct $old {
            /// A.
            $($attr)*
            pub amount: u64 }
        #[allow(deprecated)]
        impl From<$old> for $event { fn from(_: $old) -> Self { Self::Other } }
        /// S.
        $($attr)*
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub struct $state {
            /// C.
            pub count: u64 }
        #[allow(deprecated)]
        impl StreamState<$event> for $state {
            fn apply(&mut self, _: $event) { self.count += 1; }
        }
        /// K.
        $($attr)*
        #[derive(Debug, Clone, StreamKey)]
        #[allow(deprecated)]
        #[stream_key(category = $category, event = $event, state = $state, snapshot(revision = 1), traits(Display, FromStr, From))]
        pub struct $key {
            /// K.
            $($attr)*
            pub inner: u64 }
        /// C.
        $($attr)*
        #[derive(Debug, Clone, Command)]
        #[allow(deprecated)]
        #[command(discovers(slot: Option<$key>))]
        pub struct $command<'x, K: StreamKey> {
            /// F.
            $($attr)*
            #[stream]
            pub $field: $key,
            /// F.
            #[stream(event = $event)]
            pub raw: eventcore::StreamId,
            /// G.
            #[stream]
            pub generic: Vec<K>,
            /// N.
            pub note: &'x str,
        }
        #[allow(deprecated)]
        impl<K: StreamKey> CommandLogic for $command<'_, K> {
            type State = u64;
            type Error = Infallible;
            fn apply(&self, _: &mut u64, _: $ev<'_, K>) {}
            fn handle(&self, _: &u64, _: $streams<'_, K>) -> Result<(), Infallible> { Ok(()) }
        }
        #[allow(deprecated)]
        impl<K: StreamKey> StreamResolver for $command<'_, K> {
            fn discover_related_streams(&self, _: &u64, _: $known<'_, K>) -> $disc { $disc::default() }
        }
        /// Feed.
        $($attr)*
        #[derive(Debug, EventFeed)]
        #[allow(deprecated)]
        pub enum $feed {
            /// V.
            $($attr)*
            $variant($key, $event),
        }
    };
}
all! { Key Happened Do Feed Variant field DoStreams DoEvent DoDiscovered DoKnownStreams State Old "thing" {} }
all! { OldKey OldHappened OldDo OldFeed OldVariant old_field OldDoStreams OldDoEvent OldDoDiscovered OldDoKnownStreams OldState OldOld "old" { #[deprecated] } }


/// One.
#[derive(Debug, Command)]
pub struct Small {
    /// F.
    #[stream]
    pub key: Key,
}
impl CommandLogic for Small {
    type State = u64;
    type Error = Infallible;
    fn apply(&self, _: &mut u64, _: SmallEvent<'_>) {}
    fn handle(&self, _: &u64, _: SmallStreams<'_>) -> Result<(), Infallible> {
        Ok(())
    }
}

#[allow(missing_docs)]
mod checks {
    #[derive(Debug, eventcore::EventFeed)]
    #[allow(deprecated)]
    #[allow(dead_code)]
    pub(crate) enum Two {
        #[event_feed(only("HappenedVariant"))]
        A(super::Key, super::Happened),
        #[event_feed(only("OldHappenedOldVariant"))]
        B(super::OldKey, super::OldHappened),
    }
}
fn main() {
    let _two: Option<checks::Two> = None;
}
