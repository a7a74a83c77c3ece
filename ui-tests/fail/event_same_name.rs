//! Two variants of one stored name.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened,
    #[event(name = "AccountOpened")]
    Created,
}

fn main() {}
