//! The state of a stream does not outlive the decision.

use std::cell::RefCell;

use eventcore::{Command, CommandLogic};
use ui_tests::*;

thread_local! {
    static KEPT: RefCell<Vec<&'static Account>> = const { RefCell::new(Vec::new()) };
}

#[derive(Command)]
struct Look {
    #[stream(read)]
    account: AccountId,
}

impl CommandLogic for Look {
    type State = ();
    type Error = Refused;

    fn handle(&self, _: &(), streams: LookStreams<'_>) -> Result<(), Refused> {
        KEPT.with_borrow_mut(|kept| kept.push(streams.account.state()));
        Ok(())
    }
}

fn main() {}
