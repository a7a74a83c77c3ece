//! The expansion of the derives in `generic.rs`.

/// The streams of [`Audit`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
pub(crate) struct Handles<'s, 'k, K: StreamKey, const N: usize>
where
    K: Clone,
    [K; N]: Default,
    'k: 's,
    K: 's,
{
    log: crate::renamed::command::codegen::FieldHandle<'s, Keyed<'k, K, N>>,
    r#type: crate::renamed::command::codegen::FieldHandle<
        's,
        K,
        crate::renamed::command::ReadOnly,
    >,
    /// The slot `next`.
    pub(crate) next: crate::renamed::command::codegen::FieldHandle<'s, Option<K>>,
}
/// An event from one of the streams of [`Audit`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
pub(crate) enum Happened<'s, 'k, K: StreamKey, const N: usize>
where
    K: Clone,
    [K; N]: Default,
    'k: 's,
    K: 's,
{
    /// From the stream of `log`.
    Log(crate::renamed::command::codegen::FieldEvent<'s, Keyed<'k, K, N>>),
    /// From the stream of `type`.
    Type(crate::renamed::command::codegen::FieldEvent<'s, K>),
    /// From the stream of `next`.
    Next(crate::renamed::command::codegen::FieldEvent<'s, Option<K>>),
}
/// The streams that [`Audit`] finds from its state.
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
pub(crate) struct AuditDiscovered<K: StreamKey>
where
    K: Clone,
{
    /// The slot `next`.
    pub(crate) next: Option<K>,
}
#[automatically_derived]
#[allow(deprecated)]
impl<K: StreamKey> ::core::default::Default for AuditDiscovered<K>
where
    K: Clone,
{
    fn default() -> Self {
        Self {
            next: crate::renamed::command::codegen::empty_slot(),
        }
    }
}
/// The streams of [`Audit`] that are known so far, for its `StreamResolver`.
#[allow(dead_code, deprecated, missing_debug_implementations)]
pub(crate) struct AuditKnownStreams<'s, 'k, K: StreamKey, const N: usize>
where
    K: Clone,
    [K; N]: Default,
    'k: 's,
    K: 's,
{
    log: crate::renamed::command::codegen::FieldHandle<
        's,
        Keyed<'k, K, N>,
        crate::renamed::command::ReadOnly,
    >,
    r#type: crate::renamed::command::codegen::FieldHandle<
        's,
        K,
        crate::renamed::command::ReadOnly,
    >,
    /// The slot `next`.
    pub(crate) next: crate::renamed::command::codegen::FieldHandle<
        's,
        Option<K>,
        crate::renamed::command::ReadOnly,
    >,
}
#[automatically_derived]
#[allow(deprecated)]
impl<'a, 'k, K: StreamKey + From<T>, T, const N: usize> crate::renamed::CommandStreams
for Audit<'a, 'k, K, T, N>
where
    K: Clone,
    T: Into<K>,
    [K; N]: Default,
{
    type Streams<'s> = Handles<'s, 'k, K, N> where Self: 's;
    type Event<'s> = Happened<'s, 'k, K, N> where Self: 's;
    type Discovered = AuditDiscovered<K>;
    type KnownStreams<'s> = AuditKnownStreams<'s, 'k, K, N> where Self: 's;
    const DISCOVERS: bool = true;
    fn declare(&self, streams: &mut crate::renamed::command::codegen::Declarations) {
        crate::renamed::command::codegen::Declarations::declare(
            streams,
            "log",
            &self.log,
        );
        crate::renamed::command::codegen::Declarations::declare_read_only(
            streams,
            "type",
            &self.r#type,
        );
    }
    fn declare_discovered(
        discovered: &AuditDiscovered<K>,
        streams: &mut crate::renamed::command::codegen::Declarations,
    ) {
        crate::renamed::command::codegen::Declarations::declare(
            streams,
            "next",
            &discovered.next,
        );
    }
    fn known_streams<'s>(
        &'s self,
        discovered: &'s AuditDiscovered<K>,
        handles: &mut crate::renamed::command::codegen::Handles<'s>,
    ) -> ::core::option::Option<AuditKnownStreams<'s, 'k, K, N>> {
        ::core::option::Option::Some(AuditKnownStreams {
            log: crate::renamed::command::codegen::Handles::next(
                handles,
                "log",
                &self.log,
            ),
            r#type: crate::renamed::command::codegen::Handles::next(
                handles,
                "type",
                &self.r#type,
            ),
            next: crate::renamed::command::codegen::Handles::next(
                handles,
                "next",
                &discovered.next,
            ),
        })
    }
    fn discover<'s>(
        &'s self,
        state: &<Self as crate::renamed::CommandLogic>::State,
        streams: Self::KnownStreams<'s>,
    ) -> Self::Discovered
    where
        Self: crate::renamed::CommandLogic,
    {
        crate::renamed::StreamResolver::discover_related_streams(self, state, streams)
    }
    fn streams<'s>(
        &'s self,
        discovered: &'s AuditDiscovered<K>,
        handles: &mut crate::renamed::command::codegen::Handles<'s>,
    ) -> Handles<'s, 'k, K, N> {
        Handles {
            log: crate::renamed::command::codegen::Handles::next(
                handles,
                "log",
                &self.log,
            ),
            r#type: crate::renamed::command::codegen::Handles::next(
                handles,
                "type",
                &self.r#type,
            ),
            next: crate::renamed::command::codegen::Handles::next(
                handles,
                "next",
                &discovered.next,
            ),
        }
    }
    fn event<'s>(
        &'s self,
        discovered: &'s AuditDiscovered<K>,
        event: crate::renamed::command::codegen::FieldRecord<'s>,
    ) -> ::core::result::Result<Happened<'s, 'k, K, N>, crate::renamed::DecodeError> {
        match crate::renamed::command::codegen::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    Happened::Log(
                        crate::renamed::command::codegen::FieldRecord::decode(
                            event,
                            &self.log,
                        )?,
                    ),
                )
            }
            1 => {
                ::core::result::Result::Ok(
                    Happened::Type(
                        crate::renamed::command::codegen::FieldRecord::decode(
                            event,
                            &self.r#type,
                        )?,
                    ),
                )
            }
            2 => {
                ::core::result::Result::Ok(
                    Happened::Next(
                        crate::renamed::command::codegen::FieldRecord::decode(
                            event,
                            &discovered.next,
                        )?,
                    ),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    crate::renamed::command::codegen::FieldRecord::undeclared(&event),
                )
            }
        }
    }
}
