//! The key of a handle cannot be implemented for another type.

use eventcore::command::HandleKey;
use ui_tests::*;

struct Mine;

impl HandleKey for Mine {
    type Event = AccountEvent;
}

fn main() {}
