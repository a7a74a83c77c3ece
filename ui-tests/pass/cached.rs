//! Commands whose state is remembered: plain, generic, together with other arguments.

use eventcore::{Command, CommandLogic, StreamKey};
use ui_tests::*;

#[derive(Command)]
#[command(cached, streams = Handles)]
struct Withdraw {
    #[stream]
    account: AccountId,
    amount: u64,
}

impl CommandLogic for Withdraw {
    type State = u64;
    type Error = Refused;

    fn apply(&self, _: &mut u64, _: WithdrawEvent<'_>) {}

    fn handle(&self, balance: &u64, _: Handles<'_>) -> Result<(), Refused> {
        eventcore::require!(*balance >= self.amount, Refused);
        Ok(())
    }
}

#[derive(Command)]
#[command(cached)]
struct Count<K: StreamKey + 'static, const N: usize> {
    #[stream]
    of: K,
}

impl<K: StreamKey + 'static, const N: usize> CommandLogic for Count<K, N> {
    type State = usize;
    type Error = Refused;

    fn apply(&self, count: &mut usize, _: CountEvent<'_, K>) {
        *count += N;
    }

    fn handle(&self, _: &usize, _: CountStreams<'_, K>) -> Result<(), Refused> {
        Ok(())
    }
}

fn assert_cached<C: eventcore::command::CachedCommand>() {}

fn main() {
    assert_cached::<Withdraw>();
    assert_cached::<Count<AccountId, 2>>();
}
