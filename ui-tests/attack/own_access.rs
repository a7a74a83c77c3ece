//! An access of one's own making.

use eventcore::command::Access;

struct Master;

impl Access for Master {}

fn main() {}
