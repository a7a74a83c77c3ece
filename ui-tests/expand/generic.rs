//! Generics of every kind; only those that stream fields use are passed on.

#[derive(Command)]
#[command(streams = Handles, event = Happened, crate = crate::renamed, discovers(next: Option<K>))]
pub(crate) struct Audit<'a, 'k, K: StreamKey + From<T>, T, const N: usize>
where
    K: Clone,
    T: Into<K>,
    [K; N]: Default,
{
    #[stream]
    log: Keyed<'k, K, N>,
    #[stream(read)]
    r#type: K,
    note: &'a T,
}
