//! Mistakes in the arguments of `snapshot`.

use eventcore::StreamKey;
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, snapshot(revision = 1))]
struct WithoutState(u64);

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, snapshot)]
struct Bare(u64);

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(every = 100))]
struct WithoutRevision(u64);

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(version = 1))]
struct Misspelt(u64);

#[derive(StreamKey)]
#[stream_key(category = "account", event = AccountEvent, state = Account, snapshot(revision = "one"))]
struct Text(u64);

fn main() {}
