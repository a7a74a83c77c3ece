//! A newtype that is no key.

use eventcore::Command;

struct AccountNumber(u64);

#[derive(Command)]
struct Deposit {
    #[stream]
    account: AccountNumber,
}

fn main() {}
