//! A type that does not say how an event changes it.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(Default)]
struct Order {
    placed: bool,
}

#[derive(StreamKey)]
#[stream_key(category = "order", event = OrderEvent, state = Order)]
struct MyOrderId(u64);

fn main() {}
