//! Plain streams and a read-only one.

#[derive(Command)]
struct Transfer {
    #[stream]
    from: AccountId,
    #[stream]
    to: AccountId,
    #[stream(read)]
    limits: LimitsId,
    amount: u64,
}
