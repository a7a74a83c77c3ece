//! A key that does not say what its streams hold.

use eventcore::StreamKey;

#[derive(StreamKey)]
#[stream_key(category = "customer")]
struct CustomerId(u64);

fn main() {}
