//! A stream id does not write.

use ui_tests::*;

use eventcore::StreamId;

fn handle(id: StreamId, _streams: TransferStreams<'_>) {
    id.append(AccountEvent::Deposited { amount: 1 });
}

fn main() {}
