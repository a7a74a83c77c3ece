//! The state of a raw id is folded from the events of the field.

use eventcore::{Command, StreamId};
use ui_tests::*;

#[derive(Command)]
struct Close {
    #[stream(event = OrderEvent, state = Account)]
    order: StreamId,
}

fn main() {}
