//! The position of the latest event that a process knows of, for those who wait for the next one.

use tokio::sync::watch;

use crate::Position;

#[derive(Debug, Default)]
pub(crate) struct Head(watch::Sender<Position>);

impl Head {
    /// There are events up to here.
    pub(crate) fn publish(&self, position: Position) {
        self.0.send_if_modified(|head| {
            let is_newer = position > *head;
            *head = position.max(*head);
            is_newer
        });
    }

    /// The latest position that is known.
    #[cfg(feature = "postgres")]
    pub(crate) fn get(&self) -> Position {
        *self.0.borrow()
    }

    /// Waits until there is an event after a position.
    pub(crate) async fn passes(&self, after: Position) {
        // Its sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|head| *head > after).await;
    }
}
