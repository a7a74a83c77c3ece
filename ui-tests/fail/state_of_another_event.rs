//! The state is folded from other events than those of the key.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "order", event = OrderEvent, state = Account)]
struct MyOrderId(u64);

fn main() {}
