//! The expansion of the derives in `event.rs`.

#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::Event for AccountEvent {
    const TYPE_NAMES: &'static [&'static str] = {
        const NAMES: &[&[&str]] = &[
            &[
                "AccountOpened",
                "MoneyPaidIn",
                "account.deposit",
                "deposit",
                "AccountClosed",
            ],
            <ClosedV1 as ::eventcore::Event>::TYPE_NAMES,
        ];
        &::eventcore::__private::concat_names::<
            { ::eventcore::__private::count_names(NAMES) },
        >(NAMES)
    };
    fn type_name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "AccountOpened",
            Self::Deposited { .. } => "MoneyPaidIn",
            Self::Closed { .. } => "AccountClosed",
        }
    }
    fn encode(
        &self,
        payload: &mut ::eventcore::PayloadWriter<'_>,
    ) -> ::core::result::Result<(), ::eventcore::EncodeError> {
        ::eventcore::__private::encode_fields(
            ::eventcore::Event::type_name(self),
            self,
            payload,
        )
    }
    fn decode(
        type_name: &str,
        payload: &[u8],
    ) -> ::core::result::Result<Self, ::eventcore::DecodeError> {
        match type_name {
            "AccountOpened" => {
                ::eventcore::__private::decode_variant(type_name, 0, payload)
            }
            "MoneyPaidIn" | "account.deposit" | "deposit" => {
                ::eventcore::__private::decode_variant(type_name, 1, payload)
            }
            "AccountClosed" => {
                ::eventcore::__private::decode_variant(type_name, 2, payload)
            }
            _ if ::eventcore::__private::contains(
                <ClosedV1 as ::eventcore::Event>::TYPE_NAMES,
                type_name,
            ) => {
                ::eventcore::__private::upcast(
                    <ClosedV1 as ::eventcore::Event>::decode(type_name, payload),
                    ClosedV1::upgrade,
                )
            }
            _ => {
                ::core::result::Result::Err(::eventcore::DecodeError::UnknownType {
                    type_name: ::std::borrow::ToOwned::to_owned(type_name),
                    known: <Self as ::eventcore::Event>::TYPE_NAMES,
                })
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::Event for ClosedV1 {
    const TYPE_NAMES: &'static [&'static str] = &["AccountClosed.v1"];
    fn type_name(&self) -> &'static str {
        "AccountClosed.v1"
    }
    fn encode(
        &self,
        payload: &mut ::eventcore::PayloadWriter<'_>,
    ) -> ::core::result::Result<(), ::eventcore::EncodeError> {
        ::eventcore::__private::encode_struct(self, payload)
    }
    fn decode(
        type_name: &str,
        payload: &[u8],
    ) -> ::core::result::Result<Self, ::eventcore::DecodeError> {
        match type_name {
            "AccountClosed.v1" => {
                ::eventcore::__private::decode_struct(type_name, payload)
            }
            _ => {
                ::core::result::Result::Err(::eventcore::DecodeError::UnknownType {
                    type_name: ::std::borrow::ToOwned::to_owned(type_name),
                    known: <Self as ::eventcore::Event>::TYPE_NAMES,
                })
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<T> ::eventcore::Event for Changed<T>
where
    Self: ::eventcore::__private::Serialize + ::eventcore::__private::DeserializeOwned,
{
    const TYPE_NAMES: &'static [&'static str] = &["ChangedTo"];
    fn type_name(&self) -> &'static str {
        match self {
            Self::To { .. } => "ChangedTo",
        }
    }
    fn encode(
        &self,
        payload: &mut ::eventcore::PayloadWriter<'_>,
    ) -> ::core::result::Result<(), ::eventcore::EncodeError> {
        ::eventcore::__private::encode_fields(
            ::eventcore::Event::type_name(self),
            self,
            payload,
        )
    }
    fn decode(
        type_name: &str,
        payload: &[u8],
    ) -> ::core::result::Result<Self, ::eventcore::DecodeError> {
        match type_name {
            "ChangedTo" => ::eventcore::__private::decode_variant(type_name, 0, payload),
            _ => {
                ::core::result::Result::Err(::eventcore::DecodeError::UnknownType {
                    type_name: ::std::borrow::ToOwned::to_owned(type_name),
                    known: <Self as ::eventcore::Event>::TYPE_NAMES,
                })
            }
        }
    }
}
