//! A mistyped argument of `#[event]`.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    #[event(nmae = "opened")]
    Opened,
}

fn main() {}
