//! A key is a newtype.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "customer", event = AccountEvent)]
enum CustomerId {
    Number(u64),
}

fn main() {}
