//! Only the runtime deals out handles.

use eventcore::command::codegen::Handles;
use ui_tests::*;

fn handle(_streams: TransferStreams<'_>) {
    let _ = Handles::new();
}

fn main() {}
