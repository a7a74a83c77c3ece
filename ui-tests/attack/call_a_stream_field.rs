//! Only the runtime calls the functions of a field.

use eventcore::command::codegen::{Declarations, Handles, StreamField};
use ui_tests::*;

fn declare(key: &AccountId, streams: &mut Declarations) {
    StreamField::declare(key, streams);
}

fn handle<'a>(key: &'a AccountId, handles: &mut Handles<'a>) {
    let _ = StreamField::handle::<eventcore::command::Writable>(key, handles);
}

fn main() {}
