//! A key that does not say what it names.

use eventcore::StreamKey;

#[derive(StreamKey)]
struct CustomerId(u64);

fn main() {}
