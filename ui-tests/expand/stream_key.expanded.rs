//! The expansion of the derives in `stream_key.rs`.

#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::StreamKey for AccountId {
    type Event = AccountEvent;
    type State = ();
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
    type State = ();
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
    type State = ();
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
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::StreamKey for CartId {
    type Event = CartEvent;
    type State = Cart;
    const CATEGORY: &'static str = "cart";
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
    fn state_options() -> ::eventcore::StateOptions<Cart> {
        #[allow(unused_imports)]
        use ::eventcore::__private::NotCloned as _;
        let options = ::eventcore::__private::IfCloned::<Cart>::NEW
            .eventcore_state_options();
        options
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::eventcore::StreamKey for UserName {
    type Event = UserEvent;
    type State = users::User;
    const CATEGORY: &'static str = "user";
    fn key(&self) -> impl ::core::fmt::Display {
        &self.0
    }
    fn parse_key(key: &str) -> ::core::result::Result<Self, ::std::string::String> {
        match <String as ::core::str::FromStr>::from_str(key) {
            ::core::result::Result::Ok(value) => ::core::result::Result::Ok(Self(value)),
            ::core::result::Result::Err(error) => {
                ::core::result::Result::Err(::std::string::ToString::to_string(&error))
            }
        }
    }
    fn state_options() -> ::eventcore::StateOptions<users::User> {
        #[allow(unused_imports)]
        use ::eventcore::__private::NotCloned as _;
        let options = ::eventcore::__private::IfCloned::<users::User>::NEW
            .eventcore_state_options();
        let options = ::eventcore::StateOptions::snapshots(options, "User", 3);
        let options = ::eventcore::StateOptions::every(options, 1000);
        options
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::core::fmt::Display for UserName {
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
        ::core::fmt::Display::fmt(&::eventcore::StreamKey::key(self), f)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::core::str::FromStr for UserName {
    type Err = ::eventcore::StreamIdError;
    fn from_str(text: &str) -> ::core::result::Result<Self, ::eventcore::StreamIdError> {
        ::eventcore::StreamKey::from_text(text)
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::core::convert::From<&str> for UserName {
    fn from(value: &str) -> Self {
        Self(::core::convert::Into::into(value))
    }
}
#[automatically_derived]
#[allow(deprecated)]
impl ::core::convert::From<String> for UserName {
    fn from(value: String) -> Self {
        Self(value)
    }
}
