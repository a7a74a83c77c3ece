//! A generic key without its bound.

use eventcore::Command;

#[derive(Command)]
struct Audit<K> {
    #[stream]
    log: K,
}

fn main() {}
