//! The expansion of the derives in `cached.rs`.

/// The streams of [`Withdraw`], one handle for each field.
#[allow(dead_code, deprecated, missing_debug_implementations)]
struct WithdrawStreams<'a> {
    account: ::eventcore::command::codegen::FieldHandle<'a, AccountId>,
}
/// An event from one of the streams of [`Withdraw`].
#[allow(deprecated, missing_debug_implementations, private_interfaces)]
enum WithdrawEvent<'a> {
    /// From the stream of `account`.
    Account(::eventcore::command::codegen::FieldEvent<'a, AccountId>),
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::CommandStreams for Withdraw {
    type Streams<'a> = WithdrawStreams<'a> where Self: 'a;
    type Event<'a> = WithdrawEvent<'a> where Self: 'a;
    type Discovered = ();
    fn declare(&self, streams: &mut ::eventcore::command::codegen::Declarations) {
        ::eventcore::command::codegen::Declarations::declare(
            streams,
            "account",
            &self.account,
        );
    }
    fn caching() -> ::core::option::Option<
        ::eventcore::command::Caching<<Self as ::eventcore::CommandLogic>::State>,
    > {
        ::core::option::Option::Some(::eventcore::command::Caching::of::<Self>())
    }
    fn streams<'a>(
        &'a self,
        _discovered: &'a (),
        handles: &mut ::eventcore::command::codegen::Handles<'a>,
    ) -> WithdrawStreams<'a> {
        WithdrawStreams {
            account: ::eventcore::command::codegen::Handles::next(
                handles,
                "account",
                &self.account,
            ),
        }
    }
    fn event<'a>(
        &'a self,
        _discovered: &'a (),
        event: ::eventcore::command::codegen::FieldRecord<'a>,
    ) -> ::core::result::Result<WithdrawEvent<'a>, ::eventcore::DecodeError> {
        match ::eventcore::command::codegen::FieldRecord::field(&event) {
            0 => {
                ::core::result::Result::Ok(
                    WithdrawEvent::Account(
                        ::eventcore::command::codegen::FieldRecord::decode(
                            event,
                            &self.account,
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
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::command::CachedCommand for Withdraw {}
