//! What the derives in `stream_key.rs` generate.

#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::StreamKey for AccountId {
    type Event = AccountEvent;
    const CATEGORY: &'static str = "account";
    fn key(&self) -> impl ::core::fmt::Display {
        &self.0
    }
    fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
        <Uuid as ::core::str::FromStr>::from_str(key)
            .map(Self)
            .map_err(|error| ::std::string::ToString::to_string(&error))
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
        <u64 as ::core::str::FromStr>::from_str(key)
            .map(|value| Self { number: value })
            .map_err(|error| ::std::string::ToString::to_string(&error))
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
        <T as ::core::str::FromStr>::from_str(key)
            .map(Self)
            .map_err(|error| ::std::string::ToString::to_string(&error))
    }
}
