//! One command that writes three events over two streams, all with its own number.

use std::convert::Infallible;

use eventcore::{Command, CommandLogic, Event, StreamKey};
use serde::{Deserialize, Serialize};

/// A command wrote its part number 0, 1 or 2.
#[derive(Debug, Serialize, Deserialize, Event)]
pub(crate) struct Wrote {
    pub(crate) number: u64,
    pub(crate) part: usize,
}

pub(crate) const PARTS: usize = 3;

#[derive(Debug, StreamKey)]
#[stream_key(category = "left", event = Wrote)]
pub(crate) struct LeftId(pub(crate) u64);

#[derive(Debug, StreamKey)]
#[stream_key(category = "right", event = Wrote)]
pub(crate) struct RightId(pub(crate) u64);

#[derive(Debug, Command)]
pub(crate) struct Write {
    #[stream]
    pub(crate) left: LeftId,
    #[stream]
    pub(crate) right: RightId,
    pub(crate) number: u64,
}

impl CommandLogic for Write {
    type State = ();
    type Error = Infallible;

    fn handle(&self, (): &(), streams: WriteStreams<'_>) -> Result<(), Infallible> {
        let wrote = |part| Wrote {
            number: self.number,
            part,
        };
        streams.left.append(wrote(0));
        streams.right.append(wrote(1));
        streams.left.append(wrote(2));
        Ok(())
    }
}
