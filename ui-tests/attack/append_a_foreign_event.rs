//! Nobody else can say that a stream takes an event of another kind.

use eventcore::command::AppendsTo;
use ui_tests::*;

struct MyEvent;

impl AppendsTo<AccountId, AccountEvent> for MyEvent {}

fn main() {}
