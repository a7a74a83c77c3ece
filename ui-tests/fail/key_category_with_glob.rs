//! A category that no stream id can have.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "account*", event = AccountEvent)]
struct Globbed(u64);

#[derive(StreamKey)]
#[stream_key(category = "account\n", event = AccountEvent)]
struct Broken(u64);

fn main() {}
