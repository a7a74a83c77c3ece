//! Stream ids that do not say what they hold.

#[derive(Command)]
struct Import {
    #[stream(event = AccountEvent)]
    target: StreamId,
    #[stream(read, event = LimitsEvent)]
    limits: Vec<StreamId>,
}
