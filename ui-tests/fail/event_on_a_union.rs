//! An event is an enum or a struct.

use eventcore::Event;

#[derive(Event)]
union AccountEvent {
    amount: u64,
}

fn main() {}
