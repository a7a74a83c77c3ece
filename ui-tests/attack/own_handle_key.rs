//! What a handle is for cannot be told of another type.

use eventcore::command::HandleKey;
use ui_tests::*;

struct Mine;

impl HandleKey for Mine {
    type Event = AccountEvent;
}

fn main() {}
