//! An empty category.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "", event = AccountEvent)]
struct CustomerId(u64);

fn main() {}
