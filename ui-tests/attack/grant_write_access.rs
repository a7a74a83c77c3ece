//! Nobody else can say that a read-only stream is writable.

use eventcore::command::{Access, ReadOnly};

struct Mine;

impl Access for Mine {}

impl Access for ReadOnly {}

fn main() {}
