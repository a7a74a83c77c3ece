//! Nobody else can say that a read-only stream is writable.

use eventcore::command::{CanAppend, ReadOnly};

struct Mine;

impl CanAppend for Mine {}

impl CanAppend for ReadOnly {}

fn main() {}
