//! The state of a raw id is folded from the events of the field. rustc reports the bound wherever the types that
//! depend on it are mentioned; the first report says what to do.

use eventcore::{Command, StreamId};
use ui_tests::*;

#[derive(Command)]
struct Close {
    #[stream(event = OrderEvent, state = Account)]
    order: StreamId,
}

fn main() {}
