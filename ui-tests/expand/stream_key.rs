//! Newtypes with and without a name inside, and a generic one.

#[derive(Debug, Clone, StreamKey)]
#[stream_key(category = "account", event = AccountEvent)]
struct AccountId(Uuid);

#[derive(StreamKey)]
#[stream_key(category = "order", event = OrderEvent, crate = my::eventcore)]
pub struct OrderId {
    number: u64,
}

#[derive(StreamKey)]
#[stream_key(category = "item", event = Changed<T>)]
struct ItemId<T: Clone>(T);

#[derive(StreamKey)]
#[stream_key(category = "cart", event = CartEvent, state = Cart)]
struct CartId(Uuid);

#[derive(StreamKey)]
#[stream_key(
    category = "user",
    event = UserEvent,
    state = users::User,
    snapshot(revision = 3, every = 1000),
    traits(Display, FromStr, From)
)]
struct UserName(String);
