//! The statement of one account, read page by page.

use eventcore::{
    EventFilter, EventStore, Position, StreamKey, StreamState,
    store::{MAX_PAGE_EVENTS, ReadFeedRequest},
};

use crate::{
    Failure,
    domain::{Account, AccountEvent, AccountId, BankError},
    errors::with_causes,
};

pub async fn print(store: &impl EventStore, id: &AccountId) -> Result<(), Failure> {
    let stream = id
        .stream_id()
        .map_err(|why| Failure::Usage(with_causes(&why)))?;
    let mut account = Account::default();
    let mut after = Position::START;
    loop {
        let page = ReadFeedRequest {
            after,
            filter: EventFilter::Stream(stream.clone()),
            limit: MAX_PAGE_EVENTS,
        };
        let events = store.read_feed(page).await?.events;
        let Some(last) = events.last() else { break };
        after = last.position;
        for recorded in &events {
            let event = recorded
                .decode::<AccountEvent>()
                .map_err(|why| Failure::Store(with_causes(&why)))?;
            let line = match &event {
                AccountEvent::Opened { owner } => format!("opened for {owner}"),
                AccountEvent::Deposited { amount } => format!("{:>+12}", i128::from(*amount)),
                AccountEvent::Withdrawn { amount } => format!("{:>+12}", -i128::from(*amount)),
            };
            account.apply(event);
            println!(
                "{:>6}  {line:<24} {:>12}",
                recorded.version, account.balance
            );
        }
    }
    if account.owner.is_none() {
        return Err(Failure::Refused(BankError::NoSuchAccount(id.clone())));
    }
    println!("balance {}", account.balance);
    Ok(())
}
