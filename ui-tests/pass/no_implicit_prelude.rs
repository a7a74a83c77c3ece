//! Generated code names everything in full.

#![no_implicit_prelude]

#[derive(::serde::Serialize, ::serde::Deserialize, ::eventcore::Event)]
pub enum CustomerEvent {
    Joined,
    #[event(name = "CustomerLeft.v2", alias = "CustomerGone", upcast(from = LeftV1, with = left))]
    Left { reason: ::std::string::String },
}

#[derive(::serde::Serialize, ::serde::Deserialize, ::eventcore::Event)]
#[event(name = "CustomerLeft")]
pub struct LeftV1 {
    why: ::std::string::String,
}

fn left(old: LeftV1) -> CustomerEvent {
    CustomerEvent::Left { reason: old.why }
}

#[derive(::eventcore::StreamKey)]
#[stream_key(category = "customer", event = CustomerEvent)]
pub struct CustomerId(u64);

#[derive(::eventcore::Command)]
pub struct Join {
    #[stream]
    customer: CustomerId,
}

fn main() {
    let _ = Join { customer: CustomerId(1) };
    let old = <CustomerEvent as ::eventcore::Event>::decode("CustomerLeft", b"{\"why\":\"moved\"}");
    match old {
        ::std::result::Result::Ok(CustomerEvent::Left { reason }) => ::std::assert_eq!(reason, "moved"),
        _ => ::std::panic!("no upcast"),
    }
}
