//! Handles are taken writable or read-only, and with no access of one's own making.

use eventcore::command::codegen::Handles;
use ui_tests::*;

struct Master;

fn take<'a>(key: &'a AccountId, handles: &mut Handles<'a>) {
    let _ = handles.next::<_, Master>("account", key);
}

fn main() {}
