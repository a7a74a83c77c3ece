//! The library under another name.

extern crate eventcore as renamed;

use renamed::{Command, Event, StreamKey};

#[derive(serde::Serialize, serde::Deserialize, Event)]
#[event(crate = renamed)]
enum CustomerEvent {
    Joined,
}

#[derive(StreamKey)]
#[stream_key(category = "customer", event = CustomerEvent, crate = renamed)]
struct CustomerId(u64);

#[derive(Command)]
#[command(crate = renamed, streams = Handles, event = Happened)]
struct Join {
    #[stream]
    customer: CustomerId,
}

fn _apply(event: Happened<'_>, streams: Handles<'_>) {
    let Happened::Customer(CustomerEvent::Joined) = event;
    streams.customer.append(CustomerEvent::Joined);
}

fn main() {
    let _ = Join { customer: CustomerId(1) };
}
