//! Stored names, aliases and upcasts; an enum and a struct.

#[derive(Debug, Serialize, Deserialize, Event)]
enum AccountEvent {
    Opened { owner: String },
    #[event(name = "MoneyPaidIn", alias = "account.deposit", alias = "deposit")]
    Deposited(u64),
    #[event(upcast(from = ClosedV1, with = ClosedV1::upgrade))]
    Closed,
}

#[derive(Serialize, Deserialize, Event)]
#[event(name = "AccountClosed.v1")]
struct ClosedV1 {
    by: String,
}

#[derive(Serialize, Deserialize, eventcore::Event)]
enum Changed<T> {
    To(T),
}
