//! An event that serde does not know.

use eventcore::Event;

#[derive(Event)]
enum AccountEvent {
    Opened,
}

fn main() {}
