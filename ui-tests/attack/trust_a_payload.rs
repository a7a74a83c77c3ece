//! Only what a payload writer wrote is taken for JSON without a look.

use eventcore::{CommitId, Metadata, store::{AppendRequest, NewEvent}};

fn commit(events: Vec<NewEvent>) {
    let _ = AppendRequest::of_written(CommitId::generate(), vec![], events, Metadata::default(), None);
}

fn main() {}
