//! Streams found from state.

use eventcore::{Command, CommandLogic, RetryPolicy, StreamResolver, execute, memory::MemoryEventStore};
use ui_tests::*;

#[derive(Command)]
#[command(discovers(next: Option<AccountId>, orders: Vec<OrderId>), discovered = Found)]
struct Follow {
    #[stream]
    account: AccountId,
}

impl CommandLogic for Follow {
    type State = Vec<u64>;
    type Error = Refused;

    fn apply(&self, amounts: &mut Vec<u64>, event: FollowEvent<'_>) {
        if let FollowEvent::Account(AccountEvent::Deposited { amount }) = event {
            amounts.push(amount);
        }
    }

    fn handle(&self, _: &Vec<u64>, streams: FollowStreams<'_>) -> Result<(), Refused> {
        streams.account.append(AccountEvent::Deposited { amount: 7 });
        if let Some(next) = streams.next {
            next.append(AccountEvent::Withdrawn { amount: 7 });
        }
        for (_, order) in streams.orders {
            order.append(OrderEvent::Placed);
        }
        Ok(())
    }
}

impl StreamResolver for Follow {
    fn discover_related_streams(&self, amounts: &Vec<u64>, _: FollowKnownStreams<'_>) -> Found {
        Found { next: amounts.first().copied().map(AccountId), orders: amounts.iter().copied().map(OrderId).collect() }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryEventStore::new();
    let follow = || Follow { account: AccountId(1) };
    assert_eq!(execute(&store, follow(), RetryPolicy::new()).await.unwrap().events_written(), 1);
    assert_eq!(execute(&store, follow(), RetryPolicy::new()).await.unwrap().events_written(), 3);
}
