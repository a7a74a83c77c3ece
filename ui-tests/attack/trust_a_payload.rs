//! Only what a payload writer wrote is taken for JSON without a look.

use eventcore::{CommitId, Metadata, store::{AppendEvents, NewEvent}};

fn commit(events: Vec<NewEvent>) {
    let _ = AppendEvents::of_written(CommitId::generate(), vec![], events, Metadata::default(), None);
}

fn main() {}
