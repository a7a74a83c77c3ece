//! A key wraps one value.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "customer", event = AccountEvent)]
struct CustomerId(u64, u64);

fn main() {}
