//! The expansion of the derives in `transfer.rs`.

/// The streams of [`Transfer`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
struct TransferStreams<'a> {
    from: ::eventcore::command::codegen::FieldHandle<'a, AccountId>,
    to: ::eventcore::command::codegen::FieldHandle<'a, AccountId>,
    limits: ::eventcore::command::codegen::FieldHandle<
        'a,
        LimitsId,
        ::eventcore::command::ReadOnly,
    >,
}
/// An event from one of the streams of [`Transfer`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
enum TransferEvent<'a> {
    /// From the stream of `from`.
    From(::eventcore::command::codegen::FieldEvent<'a, AccountId>),
    /// From the stream of `to`.
    To(::eventcore::command::codegen::FieldEvent<'a, AccountId>),
    /// From the stream of `limits`.
    Limits(::eventcore::command::codegen::FieldEvent<'a, LimitsId>),
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Transfer {
    type Streams<'a> = TransferStreams<'a> where Self: 'a;
    type Event<'a> = TransferEvent<'a> where Self: 'a;
    type Discovered = ();
    type KnownStreams<'a> = () where Self: 'a;
    fn declare(&self, streams: &mut ::eventcore::command::codegen::Declarations) {
        ::eventcore::command::codegen::Declarations::declare(
            streams,
            "from",
            &self.from,
        );
        ::eventcore::command::codegen::Declarations::declare(streams, "to", &self.to);
        ::eventcore::command::codegen::Declarations::declare_read_only(
            streams,
            "limits",
            &self.limits,
        );
    }
    fn streams<'a>(
        &'a self,
        _discovered: &'a (),
        handles: &mut ::eventcore::command::codegen::Handles<'a>,
    ) -> TransferStreams<'a> {
        TransferStreams {
            from: ::eventcore::command::codegen::Handles::next(
                handles,
                "from",
                &self.from,
            ),
            to: ::eventcore::command::codegen::Handles::next(handles, "to", &self.to),
            limits: ::eventcore::command::codegen::Handles::next(
                handles,
                "limits",
                &self.limits,
            ),
        }
    }
    fn event<'a>(
        &'a self,
        _discovered: &'a (),
        event: ::eventcore::command::codegen::FieldRecord<'a>,
    ) -> ::core::result::Result<TransferEvent<'a>, ::eventcore::DecodeError> {
        match ::eventcore::command::codegen::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    TransferEvent::From(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.from,
                        )?,
                    ),
                )
            }
            1 => {
                ::core::result::Result::Ok(
                    TransferEvent::To(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.to,
                        )?,
                    ),
                )
            }
            2 => {
                ::core::result::Result::Ok(
                    TransferEvent::Limits(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.limits,
                        )?,
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
