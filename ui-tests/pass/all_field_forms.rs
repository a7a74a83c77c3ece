//! Every form of a stream field, and handles that iterate and index.

use eventcore::{Command, CommandLogic, ExecuteOptions, RetryPolicy, StreamId, execute, memory::MemoryEventStore};
use ui_tests::*;

type Maybe<T> = Option<T>;
type Many = Vec<OrderId>;

#[derive(Command)]
struct Everything {
    #[stream]
    account: AccountId,
    #[stream]
    other: Maybe<AccountId>,
    #[stream]
    orders: Many,
    #[stream(read)]
    limits: Vec<LimitsId>,
    #[stream(event = AccountEvent)]
    raw: StreamId,
    #[stream(read, event = OrderEvent)]
    raws: Vec<StreamId>,
    #[stream(event = LimitsEvent)]
    r#type: Option<StreamId>,
    note: &'static str,
}

impl CommandLogic for Everything {
    type State = Vec<u64>;
    type Error = Refused;

    fn apply(&self, seen: &mut Vec<u64>, event: EverythingEvent<'_>) {
        seen.push(match event {
            EverythingEvent::Account(_) | EverythingEvent::Other(_) | EverythingEvent::Raw(_) => 0,
            EverythingEvent::Orders((OrderId(number), OrderEvent::Placed)) => *number,
            EverythingEvent::Limits((LimitsId(number), LimitsEvent::Set { daily })) => number + daily,
            EverythingEvent::Raws((id, _)) => id.as_str().len() as u64,
            EverythingEvent::Type(LimitsEvent::Set { daily }) => daily,
        });
    }

    fn handle(&self, _: &Vec<u64>, streams: EverythingStreams<'_>) -> Result<(), Refused> {
        eventcore::require!(!self.note.is_empty(), Refused);
        streams.account.append(AccountEvent::Deposited { amount: 1 });
        if let Some(other) = streams.other {
            other.append(AccountEvent::Deposited { amount: 2 });
        }
        for (OrderId(_), order) in &streams.orders {
            order.append(OrderEvent::Placed);
        }
        streams.orders[0].append(OrderEvent::Placed);
        streams.raw.append(AccountEvent::Withdrawn { amount: 3 });
        if let Some(limits) = streams.r#type {
            limits.append(LimitsEvent::Set { daily: 5 });
        }
        assert_eq!(streams.limits.len() + streams.raws.len(), 2);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let store = MemoryEventStore::new();
    let id = |text| StreamId::new(text).unwrap();
    let command = || Everything {
        account: AccountId(1),
        other: Some(AccountId(2)),
        orders: vec![OrderId(3), OrderId(4)],
        limits: vec![LimitsId(5)],
        raw: id("account-6"),
        raws: vec![id("order-7")],
        r#type: Some(id("limits-8")),
        note: "all of them",
    };
    let done = execute(&store, command(), RetryPolicy::new()).await.unwrap();
    assert_eq!(done.events_written(), 7);
    let again = execute(&store, command(), ExecuteOptions::new()).await.unwrap();
    assert_eq!(again.position().get(), 14);
}
