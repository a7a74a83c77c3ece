//! Upcasts whose functions do not fit.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
struct MetV1 {
    name: String,
}

#[derive(Serialize, Deserialize, Event)]
struct LeftV1 {}

fn met(old: &MetV1) -> CustomerEvent {
    CustomerEvent::Met { name: old.name.clone() }
}

fn left(_: LeftV1) -> Option<CustomerEvent> {
    None
}

#[derive(Serialize, Deserialize, Event)]
enum CustomerEvent {
    #[event(upcast(from = MetV1, with = met))]
    Met { name: String },
    #[event(upcast(from = LeftV1, with = left))]
    Left,
}

fn main() {}
