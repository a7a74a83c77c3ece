//! A stored name that is empty.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    #[event(name = "")]
    Opened,
}

fn main() {}
