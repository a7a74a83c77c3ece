//! Every kind of visibility, and a private key in a public command.

#![deny(warnings)]

use eventcore::{Command, StreamKey};
use ui_tests::*;

#[derive(StreamKey)]
#[stream_key(category = "secret", event = AccountEvent)]
struct SecretId(u64);

mod inner {
    use super::*;

    #[derive(Command)]
    pub struct Public {
        #[stream]
        secret: SecretId,
    }

    #[derive(Command)]
    pub(crate) struct Crate {
        #[stream]
        pub(in crate::inner) account: AccountId,
    }

    #[derive(Command)]
    pub(super) struct Super {
        #[stream(read)]
        pub account: AccountId,
        #[stream]
        pub other: AccountId,
    }

    pub fn make() -> (Public, Crate) {
        (Public { secret: SecretId(1) }, Crate { account: AccountId(2) })
    }
}

fn main() {
    let _ = inner::make();
    let _ = inner::Super { account: AccountId(1), other: AccountId(2) };
}
