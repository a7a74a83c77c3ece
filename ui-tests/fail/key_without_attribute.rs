//! A key that does not say what it names.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
struct CustomerId(u64);

fn main() {}
