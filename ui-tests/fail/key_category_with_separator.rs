//! A category that contains the separator.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "bank-account", event = AccountEvent)]
struct CustomerId(u64);

fn main() {}
