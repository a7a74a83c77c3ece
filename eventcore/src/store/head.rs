//! The position of the latest event known to this process, for readers that wait for the next one.

use tokio::sync::watch;

use crate::Position;

#[derive(Debug, Default)]
pub(crate) struct Head(watch::Sender<Position>);

impl Head {
    /// Announces that there are events up to this position.
    pub(crate) fn publish(&self, position: Position) {
        self.0.send_if_modified(|head| {
            let is_newer = position > *head;
            *head = position.max(*head);
            is_newer
        });
    }

    /// Returns the latest known position.
    #[cfg(feature = "postgres")]
    pub(crate) fn get(&self) -> Position {
        *self.0.borrow()
    }

    /// Waits until there is an event after a position.
    pub(crate) async fn passes(&self, after: Position) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.0.subscribe().wait_for(|head| *head > after).await;
    }
}
