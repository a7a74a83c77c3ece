//! Appends by hand, for tests of a store that run no command.
#![allow(dead_code, reason = "each group uses its part")]

use eventcore::{
    CommitId, Metadata, StreamId, Version,
    store::{AppendRequest, ExpectedVersion, NewEvent},
};

pub fn expected(stream: &str, version: u64) -> ExpectedVersion {
    ExpectedVersion {
        stream: StreamId::new(stream).unwrap(),
        version: Version::new(version),
        event_id: None,
    }
}

/// An event of the type `Noted` for the stream with this index among the expected ones.
pub fn noted(stream: usize, payload: &str) -> NewEvent {
    NewEvent {
        stream,
        type_name: "Noted",
        payload: payload.to_owned().into(),
    }
}

/// A commit with an id of its own, without metadata and key.
pub fn commit(expected: Vec<ExpectedVersion>, events: Vec<NewEvent>) -> AppendRequest {
    let (id, metadata) = (CommitId::generate(), Metadata::default());
    AppendRequest::new(id, expected, events, metadata, None).unwrap()
}

/// A commit of one event `Noted`.
pub fn request(stream: &str, version: u64, payload: &str) -> AppendRequest {
    commit(vec![expected(stream, version)], vec![noted(0, payload)])
}
