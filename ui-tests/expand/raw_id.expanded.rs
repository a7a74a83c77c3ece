//! The expansion of the derives in `raw_id.rs`.

/// The streams of [`Import`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
struct ImportStreams<'a> {
    target: ::eventcore::command::codegen::FieldHandle<
        'a,
        StreamId,
        ::eventcore::command::Writable,
        ::eventcore::command::codegen::Raw<AccountEvent>,
    >,
    limits: ::eventcore::command::codegen::FieldHandle<
        'a,
        Vec<StreamId>,
        ::eventcore::command::ReadOnly,
        ::eventcore::command::codegen::Raw<LimitsEvent>,
    >,
}
/// An event from one of the streams of [`Import`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
enum ImportEvent<'a> {
    /// From the stream of `target`.
    Target(
        ::eventcore::command::codegen::FieldEvent<
            'a,
            StreamId,
            ::eventcore::command::codegen::Raw<AccountEvent>,
        >,
    ),
    /// From the stream of `limits`.
    Limits(
        ::eventcore::command::codegen::FieldEvent<
            'a,
            Vec<StreamId>,
            ::eventcore::command::codegen::Raw<LimitsEvent>,
        >,
    ),
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Import {
    type Streams<'a> = ImportStreams<'a> where Self: 'a;
    type Event<'a> = ImportEvent<'a> where Self: 'a;
    type Discovered = ();
    type KnownStreams<'a> = () where Self: 'a;
    fn declare(&self, streams: &mut ::eventcore::command::codegen::Declarations) {
        ::eventcore::command::codegen::Declarations::declare_raw::<
            AccountEvent,
            (),
            _,
        >(streams, "target", &self.target);
        ::eventcore::command::codegen::Declarations::declare_raw_read_only::<
            LimitsEvent,
            (),
            _,
        >(streams, "limits", &self.limits);
    }
    fn streams<'a>(
        &'a self,
        _discovered: &'a (),
        handles: &mut ::eventcore::command::codegen::Handles<'a>,
    ) -> ImportStreams<'a> {
        ImportStreams {
            target: ::eventcore::command::codegen::Handles::next_raw::<
                AccountEvent,
                (),
                _,
                _,
            >(handles, "target", &self.target),
            limits: ::eventcore::command::codegen::Handles::next_raw::<
                LimitsEvent,
                (),
                _,
                _,
            >(handles, "limits", &self.limits),
        }
    }
    fn event<'a>(
        &'a self,
        _discovered: &'a (),
        event: ::eventcore::command::codegen::FieldRecord<'a>,
    ) -> ::core::result::Result<ImportEvent<'a>, ::eventcore::DecodeError> {
        match ::eventcore::command::codegen::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    ImportEvent::Target(
                        ::eventcore::command::codegen::FieldRecord::decode_raw::<
                            AccountEvent,
                            (),
                            _,
                        >(event, &self.target)?,
                    ),
                )
            }
            1 => {
                ::core::result::Result::Ok(
                    ImportEvent::Limits(
                        ::eventcore::command::codegen::FieldRecord::decode_raw::<
                            LimitsEvent,
                            (),
                            _,
                        >(event, &self.limits)?,
                    ),
                )
            }
            _ => {
                ::core::result::Result::Err(
                    ::eventcore::command::codegen::FieldRecord::undeclared(&event),
                )
            }
        }
    }
}
