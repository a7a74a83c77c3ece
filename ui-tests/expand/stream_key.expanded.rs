//! The expansion of the derives in `stream_key.rs`.

#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::StreamKey for AccountId {
    type Event = AccountEvent;
    const CATEGORY: &'static str = "account";
    fn key(&self) -> impl ::core::fmt::Display {
        &self.0
    }
    fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
        match <Uuid as ::core::str::FromStr>::from_str(key) {
            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(Self(value)),
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::std::string::ToString::to_string(&error))
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl my::eventcore::StreamKey for OrderId {
    type Event = OrderEvent;
    const CATEGORY: &'static str = "order";
    fn key(&self) -> impl ::core::fmt::Display {
        &self.number
    }
    fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
        match <u64 as ::core::str::FromStr>::from_str(key) {
            ::core::result::Result::Ok(value) => {
                ::core::result::Result::Ok(Self { number: value })
            }
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::std::string::ToString::to_string(&error))
            }
        }
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl<T: Clone> ::eventcore::StreamKey for ItemId<T>
where
    T: ::core::fmt::Display + ::core::str::FromStr,
    <T as ::core::str::FromStr>::Err: ::core::fmt::Display,
{
    type Event = Changed<T>;
    const CATEGORY: &'static str = "item";
    fn key(&self) -> impl ::core::fmt::Display {
        &self.0
    }
    fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
        match <T as ::core::str::FromStr>::from_str(key) {
            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(Self(value)),
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::std::string::ToString::to_string(&error))
            }
        }
    }
}
