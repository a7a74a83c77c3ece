//! Defaults of type and constant parameters. One that mentions a parameter that the generated types
//! do not have is left out, and so are those before it.

use std::{fmt, marker::PhantomData, str::FromStr};

use eventcore::{Command, CommandLogic, StreamKey, StreamResolver};
use ui_tests::*;

trait HasKey {
    type Key: StreamKey;
}

struct Customer;

impl HasKey for Customer {
    type Key = AccountId;
}

type KeyOf<T> = <T as HasKey>::Key;

#[derive(Command)]
struct Last<T: HasKey, K: StreamKey = KeyOf<T>> {
    #[stream]
    key: K,
    note: PhantomData<T>,
}

#[derive(Command)]
struct Before<J: StreamKey = AccountId, T: HasKey = Customer, K: StreamKey = KeyOf<T>> {
    #[stream]
    first: J,
    #[stream]
    key: K,
    note: PhantomData<T>,
}

#[derive(Command)]
struct Kept<T = u64, K: StreamKey = AccountId> {
    #[stream]
    key: K,
    note: T,
}

#[derive(Clone, StreamKey)]
#[stream_key(category = "page", event = AccountEvent)]
struct Page<const N: usize>(Number<N>);

#[derive(Clone)]
struct Number<const N: usize>;

impl<const N: usize> fmt::Display for Number<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{N}")
    }
}

impl<const N: usize> FromStr for Number<N> {
    type Err = String;

    fn from_str(_: &str) -> Result<Self, String> {
        Ok(Self)
    }
}

#[derive(Command)]
struct Constants<const M: usize = 2, K: StreamKey = AccountId, const N: usize = M> {
    #[stream]
    key: K,
    #[stream]
    page: Page<N>,
    note: [u8; M],
}

#[derive(Command)]
#[command(discovers(more: Option<K>))]
struct Discovering<T: HasKey, K: StreamKey = KeyOf<T>> {
    #[stream]
    key: AccountId,
    note: PhantomData<(T, K)>,
}

impl<T: HasKey, K: StreamKey> CommandLogic for Discovering<T, K> {
    type State = ();
    type Error = Refused;

    fn apply(&self, (): &mut (), _: DiscoveringEvent<'_, K>) {}

    fn handle(&self, (): &(), _: DiscoveringStreams<'_, K>) -> Result<(), Refused> {
        Ok(())
    }
}

impl<T: HasKey, K: StreamKey> StreamResolver for Discovering<T, K> {
    fn discover_related_streams(&self, (): &(), _: DiscoveringKnownStreams<'_, K>) -> DiscoveringDiscovered<K> {
        DiscoveringDiscovered { more: None }
    }
}

/// The defaults that could be kept apply to the generated types, too.
fn kept(_: KeptStreams<'_>) {}

fn main() {
    let _ = kept;
    let last = Last::<Customer> { key: AccountId(1), note: PhantomData };
    let before = Before::<AccountId, Customer> { first: AccountId(1), key: AccountId(2), note: PhantomData };
    let kept = Kept::<u64> { key: AccountId(1), note: 1 };
    let constants = Constants::<2> { key: AccountId(1), page: Page(Number), note: [0, 1] };
    let discovering = Discovering::<Customer> { key: AccountId(1), note: PhantomData };
    let AccountId(sum) = last.key;
    assert_eq!(sum + before.first.0 + before.key.0 + kept.key.0 + constants.key.0 + discovering.key.0, 7);
    assert_eq!((kept.note, constants.note, constants.page.stream_id().unwrap().as_str()), (1, [0, 1], "page-2"));
}
