//! The traits that the derive can implement.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, traits(Display, Debug, Display))]
struct MyAccountId(u64);

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, traits())]
struct Nothing(u64);

fn main() {}
