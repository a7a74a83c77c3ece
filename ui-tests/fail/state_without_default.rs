//! A state begins as its default.

use eventcore::{StreamKey, StreamState};
use ui_tests::*;

struct Order {
    placed: bool,
}

impl StreamState<OrderEvent> for Order {
    fn apply(&mut self, _: OrderEvent) {
        self.placed = true;
    }
}

#[derive(StreamKey)]
#[stream_key(category = "order", event = OrderEvent, state = Order)]
struct MyOrderId(u64);

fn main() {}
