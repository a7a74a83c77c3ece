//! A field type of one's own could declare one stream and take the handle of another.

use eventcore::command::codegen::StreamField;
use ui_tests::*;

struct Mine(AccountId);

impl StreamField for Mine {
    type Event<'a> = AccountEvent;
    type Handle<'a, A: 'a> = ();
}

fn main() {}
