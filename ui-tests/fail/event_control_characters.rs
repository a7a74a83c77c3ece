//! Stored names with control characters.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum CustomerEvent {
    #[event(name = "Customer\u{0}Met")]
    Met,
    #[event(alias = "customer\nleft")]
    Left,
}

fn main() {}
