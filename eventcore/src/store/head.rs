//! The position of the latest event that a process knows of, for those who wait for the next one.

use tokio::sync::watch;

use super::Position;

#[derive(Debug, Default)]
pub(super) struct Head(watch::Sender<Position>);

impl Head {
    /// There are events up to here.
    pub(super) fn publish(&self, position: Position) {
        self.0.send_if_modified(|head| {
            let is_newer = position > *head;
            *head = position.max(*head);
            is_newer
        });
    }

    /// The latest position that is known.
    #[cfg(feature = "postgres")]
    pub(super) fn get(&self) -> Position {
        *self.0.borrow()
    }

    /// Waits until there is an event after a position.
    pub(super) async fn passes(&self, after: Position) {
        // Its sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|head| *head > after).await;
    }
}
