//! Two key types of one category.

use eventcore::EventFeed;
use eventcore::StreamKey;
use ui_tests::{AccountEvent, AccountId};

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountNumber(u64);

#[derive(EventFeed)]
enum Ledger {
    ById(AccountId, AccountEvent),
    ByNumber(AccountNumber, AccountEvent),
}

fn main() {}
