//! An access of one's own making.

use eventcore::command::CanAppend;

struct Master;

impl CanAppend for Master {}

fn main() {}
