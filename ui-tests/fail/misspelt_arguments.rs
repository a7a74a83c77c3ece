//! Misspelt arguments, everywhere.

use eventcore::{Command, Event, StreamKey};
use serde::{Deserialize, Serialize};
use ui_tests::*;

#[derive(Command)]
#[command(discover(order: Option<OrderId>))]
struct Deposit {
    #[stream(reed)]
    account: AccountId,
    #[stream(evnt = AccountEvent)]
    other: AccountId,
}

#[derive(Serialize, Deserialize, Event)]
enum CustomerEvent {
    #[event(nmae = "CustomerMet", aliases = "customer.met")]
    Met,
}

#[derive(StreamKey)]
#[stream_key(categry = "customer", events = CustomerEvent)]
struct CustomerId(u64);

fn main() {}
