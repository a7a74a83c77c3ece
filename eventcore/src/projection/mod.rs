//! What is made of events: typed feeds and subscriptions.
//!
//! This module reads a store through [`EventStore`](crate::EventStore) only and knows no database.

mod feed;
mod pages;
mod subscription;

pub use feed::{EventFeed, FeedError, FeedErrorCause};
pub use subscription::{Subscription, SubscriptionError, subscribe};
