//! A key whose event is none.

use eventcore::StreamKey;

#[derive(StreamKey)]
#[stream_key(category = "customer", event = String)]
struct CustomerId(u64);

fn main() {}
