//! What the derives in `raw_id.rs` generate.

/// The streams of [`Import`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
struct ImportStreams<'a> {
    target: ::eventcore::command::FieldHandle<
        'a,
        StreamId,
        ::eventcore::command::Writable,
        ::eventcore::command::Raw<AccountEvent>,
    >,
    limits: ::eventcore::command::FieldHandle<
        'a,
        Vec<StreamId>,
        ::eventcore::command::ReadOnly,
        ::eventcore::command::Raw<LimitsEvent>,
    >,
}
/// An event from one of the streams of [`Import`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
enum ImportEvent<'a> {
    /// From the stream of `target`.
    Target(
        ::eventcore::command::FieldEvent<
            'a,
            StreamId,
            ::eventcore::command::Raw<AccountEvent>,
        >,
    ),
    /// From the stream of `limits`.
    Limits(
        ::eventcore::command::FieldEvent<
            'a,
            Vec<StreamId>,
            ::eventcore::command::Raw<LimitsEvent>,
        >,
    ),
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Import {
    type Streams<'a> = ImportStreams<'a> where Self: 'a;
    type Event<'a> = ImportEvent<'a> where Self: 'a;
    type Discovered = ();
    fn declare(&self, streams: &mut ::eventcore::command::Declarations) {
        streams.declare_raw::<AccountEvent, _>("target", &self.target);
        streams.declare_raw_read_only::<LimitsEvent, _>("limits", &self.limits);
    }
    fn streams<'a>(
        &'a self,
        _discovered: &'a (),
        handles: &mut ::eventcore::command::Handles<'a>,
    ) -> ImportStreams<'a> {
        ImportStreams {
            target: handles.next_raw::<AccountEvent, _, _>(&self.target),
            limits: handles.next_raw::<LimitsEvent, _, _>(&self.limits),
        }
    }
    fn event<'a>(
        &'a self,
        _discovered: &'a (),
        event: ::eventcore::command::FieldRecord<'a>,
    ) -> ::core::result::Result<ImportEvent<'a>, ::eventcore::DecodeError> {
        match event.field() {
            0 => {
                event
                    .decode_raw::<AccountEvent, _>(&self.target)
                    .map(ImportEvent::Target)
            }
            1 => {
                event.decode_raw::<LimitsEvent, _>(&self.limits).map(ImportEvent::Limits)
            }
            _ => ::core::result::Result::Err(event.undeclared()),
        }
    }
}
