//! What the derives in `transfer.rs` generate.

/// The streams of [`Transfer`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
struct TransferStreams<'a> {
    from: ::eventcore::command::FieldHandle<'a, AccountId>,
    to: ::eventcore::command::FieldHandle<'a, AccountId>,
    limits: ::eventcore::command::FieldHandle<
        'a,
        LimitsId,
        ::eventcore::command::ReadOnly,
    >,
}
/// An event from one of the streams of [`Transfer`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
enum TransferEvent<'a> {
    /// From the stream of `from`.
    From(::eventcore::command::FieldEvent<'a, AccountId>),
    /// From the stream of `to`.
    To(::eventcore::command::FieldEvent<'a, AccountId>),
    /// From the stream of `limits`.
    Limits(::eventcore::command::FieldEvent<'a, LimitsId>),
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Transfer {
    type Streams<'a> = TransferStreams<'a> where Self: 'a;
    type Event<'a> = TransferEvent<'a> where Self: 'a;
    type Discovered = ();
    fn declare(&self, streams: &mut ::eventcore::command::Declarations) {
        streams.declare("from", &self.from);
        streams.declare("to", &self.to);
        streams.declare_read_only("limits", &self.limits);
    }
    fn streams<'a>(
        &'a self,
        _discovered: &'a (),
        handles: &mut ::eventcore::command::Handles<'a>,
    ) -> TransferStreams<'a> {
        TransferStreams {
            from: handles.next(&self.from),
            to: handles.next(&self.to),
            limits: handles.next(&self.limits),
        }
    }
    fn event<'a>(
        &'a self,
        _discovered: &'a (),
        event: ::eventcore::command::FieldRecord<'a>,
    ) -> ::core::result::Result<TransferEvent<'a>, ::eventcore::DecodeError> {
        match event.field() {
            0 => event.decode(&self.from).map(TransferEvent::From),
            1 => event.decode(&self.to).map(TransferEvent::To),
            2 => event.decode(&self.limits).map(TransferEvent::Limits),
            _ => ::core::result::Result::Err(event.undeclared()),
        }
    }
}
