//! A snapshot is stored as JSON.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(revision = 1))]
struct MyAccountId(u64);

fn main() {}
