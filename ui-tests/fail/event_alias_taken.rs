//! An alias that another variant has.

use eventcore::Event;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened,
    #[event(alias = "AccountOpened")]
    Closed,
}

fn main() {}
